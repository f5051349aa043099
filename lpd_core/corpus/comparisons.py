"""Formats in which several responses to one prompt were compared: the preferred one becomes the gold.

UltraFeedback with its scores, OpenAI's summary comparisons, the pairs of Inverse Constitutional AI.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from lpd_core.corpus.rows import Parsed, RowError, checked_text, describe, given, kept, listing, one_turn

Row = Mapping[str, Any]

LABELLED = re.compile(r"\AInstruction:\s*(.*?)\s*\n\s*Output:\s*(.*)\Z", re.DOTALL)


def has_scored_completions(row: Row) -> bool:
    """Whether this is a row of UltraFeedback's original layout."""
    return row.get("instruction") is not None and isinstance(row.get("completions"), list)


def parse_ultrafeedback(row: Row) -> Parsed:
    """UltraFeedback: the completion with the highest overall score is the gold, the first at a tie; the one
    with the lowest is kept as rejected."""
    name = given(row, ("instruction",))
    instruction = checked_text(row[name], repr(name))
    scored = []
    for number, completion in enumerate(listing(row, "completions"), 1):
        if not isinstance(completion, Mapping):
            raise RowError("wrong_type", f"completion {number} is {describe(completion)}, must be an object")
        text, score = completion.get("response"), _score(completion)
        if isinstance(text, str) and text.strip() and score is not None:
            scored.append((score, text, completion.get("model")))
    if not scored:
        raise RowError("empty", "no completion has a response with an overall_score")
    best, worst = max(scored, key=lambda c: c[0]), min(scored, key=lambda c: c[0])
    rejected = {"rejected": worst[1]} if worst[0] < best[0] else {}
    meta = {**kept(row, "source"), "score": best[0], **rejected}
    meta |= {"model": best[2]} if isinstance(best[2], str) else {}
    return Parsed(one_turn(instruction), checked_text(best[1], "the best response"), meta)


def _score(completion: Mapping[str, Any]) -> float | None:
    for name in ("overall_score", "fine-grained_score"):
        try:
            score = float(completion[name])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(score):
            return score
    return None


def is_post(row: Row) -> bool:
    """Whether this is a TL;DR post with its summary."""
    has_text = any(isinstance(row.get(name), str) for name in ("post", "content"))
    return has_text and row.get("summary") is not None


def parse_post(row: Row) -> Parsed:
    """TL;DR: the post, headed as OpenAI heads it; the gold is its author's summary."""
    summary = checked_text(row.get("summary"), "'summary'")
    return Parsed(_post(row), summary, kept(row, "subreddit"))


def is_summary_comparison(row: Row) -> bool:
    """Whether this is a row of OpenAI's summarize_from_feedback comparisons."""
    return isinstance(row.get("info"), Mapping) and isinstance(row.get("summaries"), list) and "choice" in row


def parse_summary_comparison(row: Row) -> Parsed:
    """A comparison of two summaries of a post (or a news article): the chosen one is the gold."""
    summaries, choice, info = listing(row, "summaries"), row.get("choice"), row.get("info")
    if not isinstance(choice, int) or isinstance(choice, bool) or not 0 <= choice < len(summaries):
        raise RowError("wrong_type", f"'choice' must number one of the {len(summaries)} summaries from 0")
    if not isinstance(info, Mapping):
        raise RowError("wrong_type", f"'info' is {describe(info)}, must be an object with the post")
    texts = [summary.get("text") if isinstance(summary, Mapping) else None for summary in summaries]
    gold = checked_text(texts[choice], "the chosen summary").strip()
    others = [text.strip() for n, text in enumerate(texts) if n != choice and isinstance(text, str)]
    rejected = {"rejected": others[0]} if others and others[0] else {}
    return Parsed(_post(info), gold, {**kept(info, "subreddit"), **rejected})


def _post(post: Mapping[str, Any]):
    name = given(post, ("post", "article", "content"))
    text = checked_text(post[name], repr(name)).strip()
    heads = (("SUBREDDIT: r/", "subreddit"), ("TITLE: ", "title"))
    parts = [f"{head}{post[field]}" for head, field in heads if post.get(field)]
    return one_turn(*parts, f"POST: {text}", "TL;DR:")


def is_icai_pair(row: Row) -> bool:
    """Whether this is a row of ICAI's CSV files."""
    return {"text_a", "text_b", "preferred_text"} <= row.keys()


def parse_icai_pair(row: Row) -> Parsed:
    """ICAI: the preferred text is the gold. Without a column `prompt` or `input`, both texts must begin with
    the same "Instruction: ..." before their "Output: ..."."""
    preferred = row.get("preferred_text")
    if preferred not in ("text_a", "text_b"):
        raise RowError("wrong_type", "'preferred_text' must be text_a or text_b")
    other = "text_b" if preferred == "text_a" else "text_a"
    gold, rejected = checked_text(row.get(preferred), preferred), checked_text(row.get(other), other)
    prompt = row.get("prompt") or row.get("input")
    if not prompt:
        labelled = [LABELLED.match(text) for text in (gold, rejected)]
        if not all(labelled) or labelled[0][1] != labelled[1][1]:
            reason = "no 'prompt' (or input), nor the same 'Instruction: ... Output: ...' in both texts"
            raise RowError("missing_field", reason)
        prompt, gold, rejected = labelled[0][1], labelled[0][2], labelled[1][2]
    return Parsed(
        one_turn(checked_text(prompt, "the prompt")), checked_text(gold, "the output"), {"rejected": rejected}
    )


def is_annotated_pair(row: Row) -> bool:
    """Whether this is a comparison of an annotated-pairs file."""
    return isinstance(row.get("response_a"), Mapping) and isinstance(row.get("response_b"), Mapping)


def parse_annotated_pair(row: Row) -> Parsed:
    """Annotated pairs (Feedback Forensics): the response that the default annotator prefers is the gold."""
    name = given(row, ("prompt",))
    preferred = row.get("preferred")
    if preferred not in ("a", "b"):
        raise RowError("no_preference", "the default annotator prefers neither response")
    if not is_annotated_pair(row):
        raise RowError("wrong_type", "response_a and response_b must be objects with a text")
    gold, other = (
        row[f"response_{side}"].get("text") for side in (preferred, "b" if preferred == "a" else "a")
    )
    meta = {"rejected": other} if isinstance(other, str) and other.strip() else {}
    return Parsed(
        one_turn(checked_text(row[name], repr(name))), checked_text(gold, "the preferred text"), meta
    )
