"""Row formats: which fields a row of each has, and how they make a prompt and its gold.

A row becomes a `Parsed`; its own `id`, `split` and `meta` are read by `importing`, the same in every format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lpd_core.corpus import benchmarks, comparisons
from lpd_core.corpus.chats import chat_turns, prompt_turns, split_reply, transcript_turns
from lpd_core.corpus.rows import Parsed, RowError, checked_text, describe, given, kept, one_turn
from lpd_core.types import Message

Row = Mapping[str, Any]

PROMPT = ("prompt", "messages")
GOLD = ("gold", "response", "answer", "chosen", "output", "summary", "reference", "completion")


@dataclass(frozen=True, slots=True)
class Format:
    """A row format: whether a row looks like it, and how to read one (raises `RowError`)."""

    recognises: Callable[[Row], bool]
    parse: Callable[[Row], Parsed]
    own_split: bool = True
    """Whether a field `split` names one of ours, and is not the source's own business."""


def recognise(row: Row, evaluation: bool = False) -> str | None:
    """The name of the first format that a row's fields fit; benchmarks among them for evaluation only."""
    shapes = {**EVALUATION_FORMATS, **FORMATS} if evaluation else FORMATS
    return next((name for name, shape in shapes.items() if shape.recognises(row)), None)


def _has(row: Row, *alternatives: str) -> bool:
    return any(row.get(name) is not None for name in alternatives)


def _gold(row: Row, names: tuple[str, ...]) -> str:
    name = given(row, names, fills="gold")
    if isinstance(row[name], list):  # a reply as a chat: TRL's conversational completion
        return split_reply(chat_turns(row[name], name), name)[1]
    return checked_text(row[name], repr(name))


def _prompt(row: Row) -> tuple[Message, ...]:
    name = given(row, PROMPT, fills="prompt")
    return prompt_turns(row[name], name)


def _parse_generic(row: Row) -> Parsed:
    return Parsed(_prompt(row), _gold(row, GOLD))


def _parse_instruction(row: Row) -> Parsed:
    """Dolly and Alpaca: the instruction, then its context or input if there is one."""
    name = given(row, ("instruction",))
    instruction = checked_text(row[name], repr(name))
    contexts = [checked_text(text, "the context") for text in kept(row, "context", "input").values()]
    gold = _gold(row, ("response", "output"))
    return Parsed(one_turn(instruction, *contexts), gold, kept(row, "category"))


def _parse_self_instruct(row: Row) -> Parsed:
    """A seed task: its instruction with its first instance."""
    instances = row.get("instances")
    if not isinstance(instances, list) or not instances or not isinstance(instances[0], dict):
        reason = f"'instances' is {describe(instances)}, must be a list of {{input, output}} objects"
        raise RowError("wrong_type", reason)
    parsed = _parse_instruction({"instruction": row.get("instruction"), **instances[0]})
    return Parsed(parsed.messages, parsed.gold, kept(row, "name", "is_classification"))


def _parse_transcripts(row: Row) -> Parsed:
    """HH-RLHF: the chosen transcript without its last reply, which is the gold."""
    name = given(row, ("chosen",))
    messages, gold = split_reply(transcript_turns(row[name], name), name)
    try:
        before, rejected = split_reply(transcript_turns(row.get("rejected"), "rejected"), "rejected")
    except RowError:  # a broken rejected transcript does not cost the row: only `chosen` is learned from
        return Parsed(messages, gold)
    # In a few rows the transcripts part before the last reply; then the rejected one answers another prompt.
    return Parsed(messages, gold, {"rejected": rejected} if before == messages else {})


def _parse_preference(row: Row) -> Parsed:
    """TRL's preference pairs: `chosen` is a text, a reply turn, or the whole chat with its prompt."""
    name = given(row, ("chosen",))
    chosen, rejected = row[name], _last_text(row.get("rejected"))
    if isinstance(chosen, str):
        messages, gold = _prompt(row), checked_text(chosen, repr(name))
    else:
        messages, gold = split_reply(chat_turns(chosen, name), name)
        messages = messages or _prompt(row)
    scores = kept(row, "score_chosen", "score_rejected")
    return Parsed(messages, gold, {**scores, "rejected": rejected} if rejected else scores)


def _last_text(value: Any) -> str | None:
    """The text of a rejected reply, where it is one: a string, a turn, or a chat that ends with it."""
    if isinstance(value, list) and value:
        value = value[-1]
    if isinstance(value, dict):
        value = value.get("value", value.get("content"))
    return value if isinstance(value, str) else None


def _parse_sharegpt(row: Row) -> Parsed:
    """ShareGPT: the gold is `chosen` where there is one, else the last turn of the conversation."""
    name = given(row, ("conversations",))
    messages = chat_turns(row[name], name)
    if row.get("system"):
        messages = ({"role": "system", "content": checked_text(row["system"], "'system'")}, *messages)
    if row.get("chosen") is None:
        return Parsed(*split_reply(messages, name))
    gold = checked_text(_last_text(row["chosen"]), "the text of 'chosen'")
    rejected = _last_text(row.get("rejected"))
    return Parsed(messages, gold, {"rejected": rejected} if rejected else {})


def _parse_hotpot(row: Row) -> Parsed:
    """HotpotQA: the paragraphs, each under its title, then the question."""
    name = given(row, ("question",))
    question = checked_text(row[name], repr(name))
    messages = one_turn(*_paragraphs(row.get("context")), question)
    return Parsed(messages, _gold(row, ("answer",)), kept(row, "type", "level"))


def _paragraphs(context: Any) -> list[str]:
    """The original [[title, sentences], ...] or the hub's {title: [...], sentences: [...]} as texts."""
    try:
        if isinstance(context, dict):
            context = list(zip(context["title"], context["sentences"], strict=True))
        pairs = [(title, "".join(sentences)) for title, sentences in context]
    except (KeyError, TypeError, ValueError) as cause:
        reason = f"'context' is {describe(context)}, must be a list of [title, sentences] pairs"
        raise RowError("wrong_type", reason) from cause
    return [f"{checked_text(title, 'a title')}\n{checked_text(text, 'a paragraph')}" for title, text in pairs]


def _is_question(row: Row) -> bool:
    return _has(row, "question") and _has(row, "answer") and isinstance(row.get("context"), list | dict)


def _is_text_pair(row: Row) -> bool:
    return isinstance(row.get("chosen"), str) and _has(row, "rejected") and not _has(row, *PROMPT)


# In the order in which they are tried: the more telling fields first.
FORMATS: Mapping[str, Format] = {
    "sharegpt": Format(lambda row: _has(row, "conversations"), _parse_sharegpt),
    "hotpot": Format(_is_question, _parse_hotpot),
    "ultrafeedback": Format(comparisons.has_scored_completions, comparisons.parse_ultrafeedback),
    "tldr-comparison": Format(
        comparisons.is_summary_comparison, comparisons.parse_summary_comparison, own_split=False
    ),
    "tldr": Format(comparisons.is_post, comparisons.parse_post),
    "annotated-pairs": Format(comparisons.is_annotated_pair, comparisons.parse_annotated_pair),
    "icai": Format(comparisons.is_icai_pair, comparisons.parse_icai_pair),
    "self-instruct": Format(
        lambda row: _has(row, "instruction") and _has(row, "instances"), _parse_self_instruct
    ),
    "hh-rlhf": Format(_is_text_pair, _parse_transcripts),
    "preference": Format(lambda row: _has(row, "chosen") and _has(row, "rejected"), _parse_preference),
    "instruction": Format(
        lambda row: _has(row, "instruction") and _has(row, "response", "output"), _parse_instruction
    ),
    "generic": Format(lambda row: _has(row, *PROMPT) and _has(row, *GOLD), _parse_generic),
}

# Read only as evaluation data, where they are tried before the others.
EVALUATION_FORMATS: Mapping[str, Format] = {
    "ifeval": Format(lambda row: benchmarks.benchmark_of(row) == "IFEval", benchmarks.parse_ifeval),
    "mt-bench": Format(lambda row: benchmarks.benchmark_of(row) == "MT-Bench", benchmarks.parse_mt_bench),
    "alpaca-eval": Format(
        lambda row: benchmarks.benchmark_of(row) == "AlpacaEval", benchmarks.parse_alpaca_eval
    ),
}
