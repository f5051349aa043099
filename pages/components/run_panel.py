"""What is known of a run while it works: stages, acceptance, loss, warnings, log, and what to do when it broke."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import plotly.graph_objects as go
import streamlit as st

from lpd_core import logs
from lpd_core.metrics import wilson
from lpd_core.progress import RunProgress, StageProgress
from lpd_core.store import RunFolder, RunState, results
from pages.components import colours, reads
from pages.components.cards import duration, show_figures, size, stage_name, with_interval
from pages.components.charts import show_chart, styled
from pages.components.text import plain

CURVES = 6
"""Most iterations in a chart, the newest."""
STAGES_LISTED = 200
WARNINGS_LISTED = 20
ERROR_LINES = 30


def show_stage(progress: RunProgress, state: RunState, now: float) -> None:
    """A bar for the stage at work, with its rates and the time left."""
    stage = progress.stages.get((state.iteration, state.stage))
    name = f"{stage_name(state.stage) or 'starting'}, iteration {state.iteration}"
    name = name[:1].upper() + name[1:]
    if stage is None or not stage.total or stage.seconds is not None:
        began = max(progress.at, progress.changes[-1][0] if progress.changes else 0.0)
        st.progress(0.0, text=f"{name}: at work for {duration(now - began) if began else '–'}")
        return
    told = [f"{name}: {stage.done:,} of {stage.total:,} {stage.unit} ({100 * stage.share:.0f} %)"]
    told += [text for text in (_rate(stage), _tokens(stage)) if text]
    left = stage.eta(now)
    told.append(
        f"about {duration(left)} left" if left else "time left not known yet" if left is None else "ending"
    )
    st.progress(stage.share, text=plain("; ".join(told)))


def _rate(stage: StageProgress) -> str:
    return f"{stage.rate:.3g} {stage.unit}/s" if stage.rate else ""


def _tokens(stage: StageProgress) -> str:
    return f"{stage.tokens_rate:,.0f} tokens/s" if stage.tokens_rate else ""


def show_stages(progress: RunProgress) -> None:
    """Every stage so far with its bar, rates and time."""
    stages = list(progress.stages.values())[-STAGES_LISTED:]
    rows = [
        {
            "t": stage.iteration,
            "Stage": stage_name(stage.stage),
            "Progress": round(stage.share, 2),
            "Done": f"{stage.done:,} of {stage.total:,} {stage.unit}" if stage.total else "",
            "Time": duration(stage.seconds if stage.seconds is not None else stage.at - stage.since),
            "Rate": _rate(stage),
            "Tokens": _tokens(stage),
        }
        for stage in reversed(stages)
    ]
    st.dataframe(
        rows,
        hide_index=True,
        height=330 if len(rows) > 8 else "auto",
        key="runs.stages",
        column_config={
            "t": st.column_config.NumberColumn("Iteration", width="small"),
            "Progress": st.column_config.ProgressColumn(
                width="small", min_value=0, max_value=1, format="percent"
            ),
        },
    )


def acceptance(run_id: str, progress: RunProgress) -> dict[int, dict[str, int]]:
    """Candidates by what became of them, for the newest iterations; those of an E-step at work as far as it is."""
    mined = [stage for (_, name), stage in progress.stages.items() if name == "e_step"][-CURVES:]
    return {
        stage.iteration: stage.summary.get("acceptance")
        or reads.fetch(results.statuses, run_id, stage.iteration)
        for stage in mined
    }


def show_gist(progress: RunProgress, counts: Mapping[int, Mapping[str, int]]) -> None:
    """The newest figures: candidates that gained, training loss, time at work."""
    figures = []
    for t, by_reason in list(counts.items())[-1:]:
        n, gained = sum(by_reason.values()), by_reason.get("accepted", 0) + by_reason.get("not_best", 0)
        if n:
            share = with_interval(asdict(wilson(gained / n, n)))
            figures.append(("Candidates that gained", share, f"iteration {t}, 95 % interval"))
    for t, curve in list(progress.losses.items())[-1:]:
        if curve.points:
            step, loss = curve.points[-1]
            figures.append(("Training loss", f"{loss:.4f}", f"nats a token, iteration {t}, step {step:,}"))
    stages = progress.stages.values()
    spent = sum(each.seconds if each.seconds is not None else each.at - each.since for each in stages)
    show_figures(
        [
            *figures,
            (
                "Time at work",
                duration(spent),
                "in 1 stage" if len(stages) == 1 else f"in {len(stages):,} stages",
            ),
        ]
    )


def show_acceptance(counts: Mapping[int, Mapping[str, int]]) -> None:
    """A bar an iteration, stacked by reason, with n."""
    counts = {t: by_reason for t, by_reason in counts.items() if by_reason}
    if not counts:
        st.caption("Acceptance: no candidate is judged yet; the first chunk of the E-step brings some.")
        return
    totals = {t: sum(by_reason.values()) for t, by_reason in counts.items()}
    labels = [f"t = {t}, n = {totals[t]:,}" for t in counts]
    figure, rows = go.Figure(), []
    for status, colour in colours.STATUS.items():
        numbers = [by_reason.get(status, 0) for by_reason in counts.values()]
        if not any(numbers):
            continue
        name = status.replace("_", " ")
        shares = [100 * n / total for n, total in zip(numbers, totals.values(), strict=True)]
        hover = [f"{name}: {n:,} ({part:.1f} %)" for n, part in zip(numbers, shares, strict=True)]
        figure.add_bar(
            y=labels,
            x=shares,
            name=name,
            orientation="h",
            marker_color=colour,
            width=0.6,
            hovertext=hover,
            hoverinfo="text",
        )
        rows += [
            {"iteration": t, "status": status, "candidates": n, "of": totals[t]}
            for t, n in zip(counts, numbers, strict=True)
        ]
    styled(figure, height=190 + 34 * len(counts))
    figure.update_layout(
        barmode="stack",
        title="Candidates by outcome",
        uirevision="keep",
        showlegend=True,
        legend={"traceorder": "normal"},
    )
    figure.update_xaxes(range=[0, 100.5], ticksuffix=" %")
    figure.update_yaxes(autorange="reversed")
    show_chart(figure, rows, "runs.acceptance", "Candidates of each iteration by reason, in per cent")


def show_loss(progress: RunProgress) -> None:
    """The training loss of the newest iterations over the optimiser's steps."""
    figure, rows = go.Figure(), []
    for iteration, curve in list(progress.losses.items())[-CURVES:]:
        steps, values = [step for step, _ in curve.points], [value for _, value in curve.points]
        figure.add_scatter(
            x=steps,
            y=values,
            mode="lines",
            name=f"t = {iteration}",
            line={"color": colours.of_series(iteration - 1), "width": 1.6},
            hovertemplate=f"t = {iteration}, step %{{x}}: %{{y:.4f}}<extra></extra>",
        )
        rows += [{"iteration": iteration, "step": step, "loss": value} for step, value in curve.points]
    styled(figure, height=300)
    figure.update_layout(title="Training loss", uirevision="keep", showlegend=True, legend={"y": -0.3})
    figure.update_xaxes(title="optimiser step")
    figure.update_yaxes(title="loss (nats a token)")
    show_chart(figure, rows, "runs.loss", "Training loss by optimiser step, a line an iteration")


def show_warnings(progress: RunProgress) -> None:
    """The newest warnings, the last first."""
    if not progress.warnings:
        return
    with st.expander(f"Warnings ({len(progress.warnings)})", expanded=False):
        for at, warned in list(progress.warnings)[: -WARNINGS_LISTED - 1 : -1]:
            when = time.strftime("%H:%M:%S", time.localtime(at))
            st.text(f"{when}  iteration {warned.iteration}, {stage_name(warned.stage)}: {warned.message}")


def show_failure(folder: RunFolder, state: RunState) -> None:
    """Why the run ended, what to do, and the last lines of the log that tells."""
    path = log_of(folder, state)
    lines = logs.tail(path, ERROR_LINES).lines
    with st.container(border=True):
        st.markdown(f"**Why it ended.** {plain(state.error or 'It left no reason.')}")
        st.markdown(f"**What to do.** {plain(logs.remedy(state.error, lines))}")
        if lines:
            st.caption(f"The end of {plain(path.name)}, at most {ERROR_LINES} lines")
            with st.container(height=260 if len(lines) > 8 else "content", border=False, autoscroll=True):
                st.code("\n".join(lines), language=None, wrap_lines=True)
        else:
            st.caption(f"{plain(path.name)} is empty.")


def log_of(folder: RunFolder, state: RunState) -> Path:
    """The log of the stage that a run is at; the driver's where the stage wrote none."""
    of_stage = folder.logs / f"{state.iteration:03d}-{state.stage}.log"
    parts = sorted(folder.logs.glob(f"{state.iteration:03d}-{state.stage}*.log")) if state.stage else []
    said = [path for path in parts if path.stat().st_size]
    return (
        said[0] if said else of_stage if parts and state.status == "running" else folder.logs / "driver.log"
    )


def show_log(folder: RunFolder, state: RunState) -> None:
    """The end of a log: which one, what to search, all of it to take away."""
    files = {path.name: path for path in sorted(folder.logs.glob("*.log"), reverse=True)}
    if not files:
        st.caption("No log yet.")
        return
    pick, find = st.columns([2, 2])
    chosen = pick.selectbox(
        "Log",
        ["", *files],
        format_func=lambda name: _log_label(name, folder, state),
        key=f"runs.log.{folder.run_id}",
    )
    path = files.get(chosen) or log_of(folder, state)
    words = find.text_input("Search in it", key=f"runs.search.{folder.run_id}", placeholder="any words")
    found = logs.search(path, words) if words else logs.tail(path)
    with st.container(height=240 if found.lines else "content", border=bool(found.lines), autoscroll=True):
        if found.lines:
            st.code("\n".join(found.lines), language=None, wrap_lines=True)
        else:
            st.caption(f"No line contains {plain(words, 80)}." if words else f"{plain(path.name)} is empty.")
    st.caption(_log_note(found, words))
    st.download_button(
        "Download the log"
        if found.size <= logs.DOWNLOAD_BYTES
        else f"Download its last {size(logs.DOWNLOAD_BYTES)}",
        data=lambda: logs.last_bytes(path, logs.DOWNLOAD_BYTES)[0],
        file_name=f"{folder.run_id}-{path.name}",
        mime="text/plain",
        key=f"runs.log.download.{folder.run_id}",
        on_click="ignore",
    )


def _log_label(name: str, folder: RunFolder, state: RunState) -> str:
    if not name:
        return f"of the stage now: {log_of(folder, state).name}"
    return name


def _log_note(found: logs.Tail, words: str) -> str:
    if words:
        where = "" if found.whole else f" in its last {size(logs.SEARCH_BYTES)}"
        return f"{found.matches:,} lines match{where}, the last {len(found.lines)} shown; {size(found.size)} in all"
    part = "all of it" if found.whole else f"its last {len(found.lines)} lines"
    return f"{part}; {size(found.size)} in all"


def silence_text(silent: float) -> str:
    """How long nothing was heard."""
    return (
        f"No progress for {duration(silent)}. The stage may be stuck, or the machine very busy: read the log; stopping "
        "and resuming loses at most the chunk at work."
    )
