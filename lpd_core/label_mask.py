"""Which tokens of a training chat carry the loss: the trained turns' text and their end-of-turn token, only.

A trained turn begins where the rendered prompt of that turn ends (the very text that the sampler sends, so
that the M-step learns what the E-step samples) and ends with the special token that closes the turn. The
place of its text is found by rendering the chat once more with a placeholder for it: no `{% generation %}`
marks are needed. What a template puts between the prompt and the text (a blank, an empty <think> block) is
the model's to say, and so is trained with it. What follows the last trained turn teaches nothing: left out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lpd_core.errors import UserError
from lpd_core.samplers.chat import END_THINK, end_of_turn, opens_thinking, render
from lpd_core.types import Message, TrainingRow

IGNORED = -100
Piece = tuple[list[int], int]  # token ids and the segment they belong to
PLACEHOLDER = "\ue000"  # private use: stands in no template and survives trimming


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """A row as tokens, three lists of one length: `labels` are -100 outside the trained turns, `segments` are
    0 there and else 1, 2, ... for the first, second, ... trained turn."""

    input_ids: list[int]
    labels: list[int]
    segments: list[int]


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [begin, end) of the rendered chat that one trained turn owns; `closing` is the id of the
    special token they end with."""

    begin: int
    end: int
    closing: int


class HistoryDiffers(UserError):
    """The chat template renders an answered turn otherwise than the prompt it answers, for instance without the
    thinking block that the prompt opens."""


def encode_parts(tokenizer: Any, row: TrainingRow) -> list[EncodedRow]:
    """The row as one sequence, or, where the template renders history otherwise than prompts, as one for each
    trained turn, its prompt being the very one that is sampled from. Raises as `encode_row`."""
    try:
        return [encode_row(tokenizer, row)]
    except HistoryDiffers:
        return [_encode_turn(tokenizer, row, turn) for turn in row.trained]


def encode_row(tokenizer: Any, row: TrainingRow) -> EncodedRow:
    """Tokenise a row and mark its trained tokens, after checking that they decode to the trained text.

    Raises `UserError` naming the row when the chat template or the tokenizer makes that impossible."""
    text, spans = _find_spans(tokenizer, row)
    pieces = _tokenise_at_once(tokenizer, text, spans) or _tokenise_apart(tokenizer, text, spans)
    for ids, segment in pieces:
        span = spans[segment - 1]
        if segment and not _decodes_to(tokenizer, ids, text[span.begin : span.end]):
            raise UserError(
                f"{_name(row)}: turn {row.trained[segment - 1]} does not come back from its tokens as it was "
                f"({tokenizer.decode(ids)[:60]!r}); the tokenizer alters it, or it holds special tokens"
            )
    input_ids = [token for ids, _ in pieces for token in ids]
    segments = [segment for ids, segment in pieces for _ in ids]
    labels = [t if s else IGNORED for t, s in zip(input_ids, segments, strict=True)]
    return EncodedRow(input_ids, labels, segments)


def token_weights(row: EncodedRow, weight: float, balanced: bool) -> list[float]:
    """Each token's weight in the loss of its batch, 0 where nothing is trained.

    Balanced: a row's weights add up to `weight`, shared alike by its segments and, in each, by its tokens.
    Else every trained token weighs `weight`. A batch's loss is the weighted mean over its tokens."""
    if not balanced:
        return [weight if segment else 0.0 for segment in row.segments]
    present = set(row.segments) - {0}
    share = {0: 0.0} | {s: weight / len(present) / row.segments.count(s) for s in present}
    return [share[segment] for segment in row.segments]


def render_training_row(tokenizer: Any, row: TrainingRow) -> list[tuple[str, bool]]:
    """The rendered chat, up to its last trained turn, cut into (text, is it trained), in order; in as many
    chats as `encode_parts` makes."""
    try:
        text, spans = _find_spans(tokenizer, row)
    except HistoryDiffers:
        answers = [_turn_text(tokenizer, row, turn) for turn in row.trained]
        return [piece for prompt, answer in answers for piece in ((prompt, False), (answer, True))]
    return [(part, segment > 0) for part, segment in _cut(text, spans)]


def _find_spans(tokenizer: Any, row: TrainingRow) -> tuple[str, list[Span]]:
    """The rendered chat and the span of each trained turn."""
    turns = list(row.trained)
    if not turns or turns != sorted(set(turns)) or not 0 < turns[0] <= turns[-1] < len(row.messages):
        raise UserError(
            f"{_name(row)}: the trained turns {turns} must be some of 1..{len(row.messages) - 1}, in order"
        )
    # Templates treat the last turn apart, and some close a turn with the next one's opening: let one follow.
    following = {"role": "user", "content": "Go on."}
    row = replace(row, messages=(*row.messages[: turns[-1] + 1], following))
    text = _render(tokenizer, row, row.messages)
    spans = [_find_span(tokenizer, row, text, turn) for turn in turns]
    return text[: spans[-1].end], spans


def _find_span(tokenizer: Any, row: TrainingRow, text: str, turn: int) -> Span:
    prompt = _render(tokenizer, row, row.messages[:turn])
    if not text.startswith(prompt):
        parting = next((i for i, (a, b) in enumerate(zip(text, prompt, strict=False)) if a != b), len(text))
        raise HistoryDiffers(
            f"{_name(row)}, turn {turn}: the chat template renders the chat before this turn differently "
            f"once the turn is answered ({prompt[parting : parting + 40]!r} became "
            f"{text[parting : parting + 40]!r}), so it cannot be one sequence"
        )
    begin = _text_begin(tokenizer, row, text, turn)
    content = row.messages[turn]["content"]
    found = next((c for c in (content, content.strip()) if c.strip() and text.startswith(c, begin)), None)
    if found is None or begin < len(prompt):
        raise UserError(
            f"{_name(row)}, turn {turn}: the chat template does not keep the turn's text ({content[:60]!r} "
            f"became {text[begin : begin + 60]!r}); blanks at the ends may go, but the text must not be "
            "empty nor lose words such as a <think> block"
        )
    closing = _closing_token(tokenizer, row, turn, text[begin + len(found) :])
    end = text.index(closing, begin + len(found)) + len(closing)
    return Span(len(prompt), end, tokenizer.convert_tokens_to_ids(closing))


def _text_begin(tokenizer: Any, row: TrainingRow, text: str, turn: int) -> int:
    """Where the turn's own text begins; a placeholder finds it, since the same words may occur before it."""
    placeholder = PLACEHOLDER
    while placeholder in text:
        placeholder += PLACEHOLDER
    blank = {**row.messages[turn], "content": placeholder}
    marked = _render(tokenizer, row, (*row.messages[:turn], blank, *row.messages[turn + 1 :]))
    begin = marked.find(placeholder)
    if begin < 0 or marked[:begin] != text[:begin]:
        raise UserError(f"{_name(row)}: the chat template does not show the text of turn {turn} in its place")
    return begin


def _closing_token(tokenizer: Any, row: TrainingRow, turn: int, rest: str) -> str:
    """The special token at the beginning of what follows the turn's text, after blanks at most."""
    following = rest.lstrip()
    added = tokenizer.get_added_vocab()
    specials = [token for token in added if token.strip() and following.startswith(token)]
    if not specials:
        raise UserError(
            f"{_name(row)}, turn {turn}: no special token closes the turn (after its text comes "
            f"{rest[:30]!r}), so the model could not learn to stop; use a chat template that ends assistant "
            "turns with one"
        )
    return max(specials, key=len)


def _encode_turn(tokenizer: Any, row: TrainingRow, turn: int) -> EncodedRow:
    """One trained turn after its own prompt."""
    prompt, answer = (_tokenise(tokenizer, text) for text in _turn_text(tokenizer, row, turn))
    content = row.messages[turn]["content"].strip()
    if not content or content not in tokenizer.decode(answer, clean_up_tokenization_spaces=False):
        raise UserError(f"{_name(row)}: turn {turn} is empty or does not come back from its tokens as it was")
    context = [0] * len(prompt)
    return EncodedRow(prompt + answer, [IGNORED] * len(prompt) + answer, context + [1] * len(answer))


def _turn_text(tokenizer: Any, row: TrainingRow, turn: int) -> tuple[str, str]:
    """The prompt of a turn as it is sampled from, and the answer with its end. Where the prompt opens a thinking
    block, the answer begins by closing it: the thoughts were stripped, and an answer inside the block would be
    none."""
    prompt = _render(tokenizer, row, row.messages[:turn])
    closing = end_of_turn(tokenizer)
    if closing is None:
        raise UserError(
            f"{_name(row)}, turn {turn}: no special token closes the turn, so the model could not stop"
        )
    lead = f"\n{END_THINK}\n\n" if opens_thinking(prompt) else ""
    return prompt, f"{lead}{row.messages[turn]['content']}{tokenizer.convert_ids_to_tokens(closing)}"


def _cut(text: str, spans: Sequence[Span]) -> list[tuple[str, int]]:
    """The text as consecutive (part, segment), segment 0 being context."""
    parts, at = [], 0
    for segment, span in enumerate(spans, start=1):
        parts += [(text[at : span.begin], 0), (text[span.begin : span.end], segment)]
        at = span.end
    return parts


def _tokenise_at_once(tokenizer: Any, text: str, spans: Sequence[Span]) -> list[Piece] | None:
    """The whole chat's tokens in pieces; None where a trained turn does not begin with a token of its own,
    because a character of its prompt and one of its text share one."""
    ids = _tokenise(tokenizer, text)
    pieces: list[Piece] = []
    at = 0
    for segment, span in enumerate(spans, start=1):
        prompt = _tokenise(tokenizer, text[: span.begin])
        if ids[: len(prompt)] != prompt or span.closing not in ids[len(prompt) :]:
            return None
        stop = ids.index(span.closing, len(prompt)) + 1
        pieces += [(ids[at : len(prompt)], 0), (ids[len(prompt) : stop], segment)]
        at = stop
    return pieces


def _tokenise_apart(tokenizer: Any, text: str, spans: Sequence[Span]) -> list[Piece]:
    """The chat tokenised part by part, as when sampled: the prompt's tokens, then those of the answer."""
    return [(_tokenise(tokenizer, part), segment) for part, segment in _cut(text, spans)]


def _tokenise(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _decodes_to(tokenizer: Any, ids: Sequence[int], text: str) -> bool:
    """Equal but for blanks at the ends, which sentence-piece decoders drop, and for Unicode composition."""
    decoded = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return unicodedata.normalize("NFC", decoded).strip() == unicodedata.normalize("NFC", text).strip()


def _render(tokenizer: Any, row: TrainingRow, messages: Sequence[Message]) -> str:
    """The chat as the sampler renders it, with the beginning of the assistant's next turn."""
    try:
        return render(tokenizer, messages)
    except UserError as cause:
        raise UserError(f"{_name(row)}: {cause}") from cause


def _name(row: TrainingRow) -> str:
    return f"training row {row.prompt_id!r}, sample {row.sample}"
