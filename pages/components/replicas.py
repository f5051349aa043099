"""The replicas of the model that a stage is spread over: where they are, how fast, what was lost and done again."""

from __future__ import annotations

import streamlit as st

from lpd_core.events import ReplicaSeen
from lpd_core.progress import RunProgress, StageProgress
from pages.components.cards import stage_name
from pages.components.text import plain

LISTED = 200


def show_replicas(progress: RunProgress) -> None:
    """The replicas of the newest stage that has any, a row each; nothing where all work was done by this machine's
    own processes."""
    stage = next((each for each in reversed(progress.stages.values()) if each.replicas), None)
    if stage is None:
        return
    replicas = list(stage.replicas.values())
    st.markdown(f"**Replicas of the {stage_name(stage.stage)}, iteration {stage.iteration}**")
    st.caption(plain(_summary(stage, replicas)))
    slow = stage.stragglers()
    st.dataframe(
        [_row(each, each.replica in slow) for each in replicas[-LISTED:]],
        hide_index=True,
        height=330 if len(replicas) > 8 else "auto",
        key="runs.replicas",
        column_config={
            "Tokens/s": st.column_config.NumberColumn(format="localized", help="Tokens a second at work"),
            "Done": st.column_config.NumberColumn(help="Chunks or requests finished"),
            "Lost": st.column_config.NumberColumn(help="Begun or kept there when the replica was lost"),
            "Redone": st.column_config.NumberColumn(help="Done here after another replica had lost them"),
        },
    )
    if len(replicas) > LISTED:
        st.caption(f"The last {LISTED} of {len(replicas):,} replicas.")


def _summary(stage: StageProgress, replicas: list[ReplicaSeen]) -> str:
    here = [each for each in replicas if each.state != "lost"]
    gone = len(replicas) - len(here)
    nodes = len({each.node for each in here})
    unit = replicas[-1].unit
    lost, redone = sum(each.lost for each in replicas), sum(each.redone for each in replicas)
    rate = sum(_rate(each) or 0 for each in here)
    told = [f"{len(here):,} replicas on {nodes:,} nodes", f"{rate:,.0f} tokens/s together while at work"]
    if gone:
        told.append(f"{gone:,} lost")
    if lost or redone:
        told.append(f"{unit}: {lost:,} lost, {redone:,} redone")
    if slow := len(stage.stragglers()):
        told.append(f"{slow:,} slower than half the others' median")
    return "; ".join(told)


def _row(replica: ReplicaSeen, is_slow: bool) -> dict[str, object]:
    rate = _rate(replica)
    return {
        "Replica": replica.replica,
        "Node": replica.node,
        "Role": replica.role,
        "State": f"{replica.state}, slow" if is_slow else replica.state,
        "Done": replica.pieces,
        "Tokens/s": None if rate is None else round(rate),
        "Lost": replica.lost,
        "Redone": replica.redone,
    }


def _rate(replica: ReplicaSeen) -> float | None:
    return replica.tokens / replica.seconds if replica.tokens and replica.seconds > 0 else None
