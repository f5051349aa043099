"""Why a candidate was accepted or rejected, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lpd_core.config import EStepConfig
from pages.components.cards import number, signed

NAMES: Mapping[str, str] = {
    "accepted": "selected",
    "not_best": "gained, not best",
    "no_gain": "no gain",
    "empty": "empty answer",
    "too_long": "too long",
    "leaks_gold": "quotes the gold",
    "unparsable": "no principle",
    "unscored": "not scored",
    "skipped_good_draft": "draft good enough",
    "failed": "sampling failed",
}
"""What became of a candidate, for tables and filters."""


def needed(draft_score: float | None, settings: EStepConfig) -> str:
    """What a refinement's score had to exceed."""
    if draft_score is None:
        return "The draft has no score, so nothing could be accepted."
    margin = f" plus the margin {settings.margin:g}" if settings.margin else ""
    return (
        f"To be accepted, f(y2, gold) had to exceed f(y1, gold){margin}: more than "
        f"{number(draft_score + settings.margin)}."
    )


def reason(candidate: Mapping[str, Any], draft_score: float | None, settings: EStepConfig) -> str:
    """The sentence for a candidate of a prompt whose draft scored `draft_score`."""
    rule = _RULES.get(candidate["status"])
    return rule(candidate, draft_score, settings) if rule else f"It ended as {candidate['status']}."


def _accepted(candidate: Mapping[str, Any], draft_score: float | None, settings: EStepConfig) -> str:
    among = (
        "the best of its prompt" if settings.keep == 1 else f"among the {settings.keep} best of its prompt"
    )
    return f"Selected: {signed(candidate['gain'])} closer to the gold than the draft, {among}."


def _not_best(candidate: Mapping[str, Any], draft_score: float | None, settings: EStepConfig) -> str:
    others = "another candidate scores" if settings.keep == 1 else f"{settings.keep} others score"
    return (
        f"Gained {signed(candidate['gain'])} over the draft, but {others} higher, or as high and came first."
    )


def _no_gain(candidate: Mapping[str, Any], draft_score: float | None, settings: EStepConfig) -> str:
    least = (draft_score or 0.0) + settings.margin
    return f"Rejected: its answer scores {number(candidate['score'])}, and it had to exceed {number(least)}."


def _too_long(candidate: Mapping[str, Any], draft_score: float | None, settings: EStepConfig) -> str:
    if candidate["finish_reason"] == "length":
        return (
            f"Rejected: the answer reached the limit of {settings.refine.max_tokens:,} tokens before it ended, so it "
            "was cut."
        )
    words = len((candidate["principle"] or "").split())
    if words > settings.max_principle_words:
        return f"Rejected: the principle has {words:,} words, and {settings.max_principle_words} are allowed."
    return "Rejected: the chat did not fit the model's context."


def _unparsable(candidate: Mapping[str, Any], draft_score: float | None, settings: EStepConfig) -> str:
    return "Rejected: no principle in words could be read out of what the model wrote when asked for one."


def _leaks_gold(candidate: Mapping[str, Any], draft_score: float | None, settings: EStepConfig) -> str:
    return (
        f"Rejected: the principle quotes {settings.leak_words} or more consecutive words that stand in the gold alone; "
        "it would carry the answer past the blind refinement."
    )


def _skipped(candidate: Mapping[str, Any], draft_score: float | None, settings: EStepConfig) -> str:
    return (
        f"Not mined: the draft already scores {number(draft_score)}, above the limit {settings.skip_above} "
        "(e_step.skip_above)."
    )


_RULES = {
    "accepted": _accepted,
    "not_best": _not_best,
    "no_gain": _no_gain,
    "too_long": _too_long,
    "unparsable": _unparsable,
    "leaks_gold": _leaks_gold,
    "skipped_good_draft": _skipped,
    "empty": lambda *_: "Rejected: the model wrote no answer under this principle.",
    "unscored": lambda *_: "Left out: the scorer gave no score for it; this never counts as zero.",
    "failed": lambda *_: "Left out: sampling failed; the stage's log has the cause.",
}
