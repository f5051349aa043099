"""What the checks before a run found: errors and warnings, what it will take, and what will be sent and trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from lpd_core.config import RunConfig
from pages.components.cards import duration, size
from pages.components.text import clip, plain, show_text, show_tokens

STAGES = {
    "e_step": "E-steps",
    "cluster": "clustering",
    "m_step": "M-steps",
    "evaluate": "evaluation",
    "starting": "starting stages",
}
SAID = 600
"""Signs shown of a finding."""
CHATS = {
    "draft": ("Draft", "The model answers with y1."),
    "propose": ("Propose", "The only chat that shows the gold; the model answers with z."),
    "refine": ("Refine", "The gold is hidden; the model answers with y2 under z."),
    "training": ("Training row", "The refine chat with its answer; the loss is on the trained turns only."),
}


def show_findings(findings: Sequence[Mapping[str, str]]) -> None:
    """Errors first, each with what to do about it."""
    for finding in sorted(findings, key=lambda each: each["level"]):
        told = plain(finding["what"], SAID)
        mend = f": {plain(finding['mend'], SAID)}" if finding["mend"] else ""
        (st.error if finding["level"] == "error" else st.warning)(f"{told}{mend}")
    if not findings:
        st.success("Nothing stands in the way.")


def show_trust(config: RunConfig) -> None:
    """In red, where the run executes code that comes with a model."""
    models = {"model": config.model, "scoring.judge.model": config.scoring.judge.model}
    trusted = [f"`{name}.trust_remote_code`" for name, model in models.items() if model.trust_remote_code]
    if trusted:
        st.error(
            f"**Code from the model's folder runs on this machine with your rights:** {' and '.join(trusted)} is on. "
            "Leave it off unless you have read that code.",
            icon=":material/gpp_bad:",
        )


def show_facts(facts: Mapping[str, Any]) -> None:
    """Prompts, generations, tokens, time, memory and disk, in cells with their units."""
    prompts, estimate = facts.get("prompts", {}), facts.get("estimate", {})
    cells = st.columns(5)
    measured = estimate.get("measured", {})
    cells[0].metric(
        "Prompts to mine",
        f"{estimate['mined']:,}" if prompts and estimate else "–",
        help=f"Over all iterations, of {prompts['mined']:,} distinct prompts that are not held out."
        if prompts
        else None,
    )
    cells[1].metric(
        "Generations", short(estimate.get("generations")), help="Texts sampled over the whole run."
    )
    cells[2].metric(
        "Tokens, at most",
        short(estimate.get("tokens_at_most")),
        help="If every text is as long as its limit allows; most are shorter.",
    )
    memory, disk = facts.get("memory"), facts.get("disk")
    cells[3].metric(
        "Memory to train",
        size(memory["needed_bytes"]) if memory and memory["needed_bytes"] else "–",
        help=f"Weights, gradients and optimiser state beside activations; sampling takes {size(memory['sampling_bytes'])}. "
        f"{size(memory['available_bytes'])} are there on {memory['place']}."
        if memory
        else "Not known before the errors are mended.",
    )
    cells[4].metric(
        "Disk",
        size(disk["needed_bytes"]) if disk else "–",
        help=f"Checkpoints of all iterations; {size(disk['free_bytes'])} are free." if disk else None,
    )
    if prompts:
        told = ", ".join(_part(name, count, prompts.get(name, count)) for name, count in measured.items())
        st.caption(f"Held out and measured: {told or 'nothing'}." + _lengths(facts.get("chat_tokens")))


def _part(name: str, measured: int, there: int) -> str:
    return f"{measured:,} {plain(name)}" if measured == there else f"{measured:,} of {there:,} {plain(name)}"


def _lengths(tokens: Mapping[str, float] | None) -> str:
    if not tokens:
        return ""
    return f" A propose chat has {tokens['mean']:.0f} tokens in the mean, {tokens['longest']:,} at most."


def show_time(time: Mapping[str, Any] | None) -> bool:
    """How long the run will take, from earlier runs; False where none can tell."""
    if not time or not time.get("runs"):
        return False
    runs = "1 earlier run" if time["runs"] == 1 else f"{time['runs']} earlier runs"
    st.markdown(
        f"**About {duration(time['seconds'])}** ({_parts(time['stages'])}), from the rates of {time['iterations']} "
        f"iterations of {runs} with this model and sampler on this machine."
    )
    return True


def show_probed(found: Mapping[str, Any]) -> None:
    """What a probe measured: time, tokens, memory."""
    gpu = found["peak_gpu_memory_bytes"]
    peak = size(found["peak_memory_bytes"]) + (f" and {size(gpu)} of the GPUs" if gpu else "")
    st.markdown(
        f"**About {duration(found['seconds'])}** ({_parts(found['stages'])}) and {short(found['tokens'])} sampled "
        f"tokens, from {found['prompts']} prompts at {found['tokens_per_second']:,.0f} tokens/s; all processes together "
        f"held {peak} of memory at most. Larger batches may be faster."
    )


def _parts(stages: Mapping[str, float]) -> str:
    return ", ".join(f"{STAGES[name]} {duration(seconds)}" for name, seconds in stages.items())


def show_examples(facts: Mapping[str, Any]) -> None:
    """One example of each chat as it will be sent, and the training row token by token."""
    chats = facts.get("chats", {})
    names = [name for name in CHATS if name in chats]
    if not names:
        st.caption("There is no example before the errors about data and prompts are mended.")
        return
    chosen = st.segmented_control(
        "One example of each chat",
        names,
        default=names[0],
        required=True,
        format_func=lambda name: CHATS[name][0],
        key="launch.chat",
    )
    st.caption(
        CHATS[chosen][1] + " The first prompt of the data stands in for all; the answers are placeholders."
    )
    if chosen == "training" and facts.get("row_tokens"):
        tokens, trained = zip(*facts["row_tokens"], strict=True)
        label = f"{sum(trained):,} of {len(tokens):,} tokens carry the loss (coloured); each box is a token"
        show_tokens(list(tokens), list(trained), label)
        return
    turns = set(facts.get("trained_turns", ())) if chosen == "training" else set()
    for number, message in enumerate(chats[chosen]):
        show_text(
            message["content"], f"{message['role']}{', trained' if number in turns else ''}", height="14rem"
        )
    if chosen == "training":
        st.caption("No tokenizer was loaded, so the row is shown by its turns.")


def short(count: int | None) -> str:
    """A large number in at most four signs and a unit."""
    if count is None:
        return "–"
    for limit, unit in ((10**9, " G"), (10**6, " M"), (10**4, " k")):
        if count >= limit:
            return f"{count / (1000 if unit == ' k' else limit):.{0 if unit == ' k' else 1}f}{unit}"
    return f"{count:,}"


def failure(error: str) -> str:
    """One line for checks that gave no answer."""
    return f"The checks gave no answer: {plain(clip(error, SAID))}"
