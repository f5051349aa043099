"""The E-step's arithmetic on texts: the similarity f, the cleaning of a principle, acceptance and selection.

Knows no model, file or store. Section 2 of docs/method.md: f is Rouge-L F1, a candidate is accepted if it
scores above its draft, the best accepted one of a prompt is selected.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property

from lpd_core.config import EStepConfig
from lpd_core.types import Candidate, CandidateStatus, Draft, Example, FinishReason, Pair

_ALPHANUMERIC = bytes(byte if byte < 128 and chr(byte).isalnum() else ord(" ") for byte in range(256))
_WORD = re.compile(r"\w+")
_VOCABULARY_LIMIT = 1_000_000
_BULLET = re.compile(r"\A(?:[-*•–—>#]+|\(?\d{1,3}[.)])(?:\s+|\Z)")
_PREFIX = re.compile(r"\A[*_]*(?:general\s+)?principle(?:\s+\d+)?[*_]*\s*:[*_]*", re.IGNORECASE)
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’", "«": "»", "**": "**"}


class _Vocabulary(dict[bytes, int]):
    """ASCII token to the number of its stem. Each token is stemmed once, when it is first seen."""

    def __init__(self, stemmer: bool):
        super().__init__()
        self._stemmer = stemmer
        self._numbers: dict[str, int] = {}

    def __missing__(self, token: bytes) -> int:
        word = token.decode("ascii")
        # rouge_score stems only tokens longer than three characters.
        stem = self._stem(word) if self._stemmer and len(word) > 3 else word
        self[token] = number = self._numbers.setdefault(stem, len(self._numbers))
        return number

    @cached_property
    def _stem(self) -> Callable[[str], str]:
        # Imported with the first word and not before: nltk takes a second, and half of the stages score nothing.
        from nltk.stem.porter import PorterStemmer

        return PorterStemmer().stem


class RougeL:
    """The F1 of `rouge_score.RougeScorer(["rougeL"], use_stemmer=stemmer)`, equal to 1e-9 and far faster:
    each text becomes numbers once, and rapidfuzz finds the longest common subsequence bit-parallel."""

    def __init__(self, stemmer: bool):
        self._stemmer = stemmer
        self._vocabulary = _Vocabulary(stemmer)

    def score(self, pairs: Sequence[Pair]) -> list[float | None]:
        """F1 in [0, 1] of response and gold of each pair; 0.0 where either side has no token. Never None."""
        from rapidfuzz.distance import LCSseq

        if len(self._vocabulary) > _VOCABULARY_LIMIT:
            self._vocabulary = _Vocabulary(self._stemmer)
        encoded = {text: self._encode(text) for text in {text for pair in pairs for text in pair[:2]}}
        scores: list[float | None] = []
        for response, gold in (pair[:2] for pair in pairs):
            a, b = encoded[response], encoded[gold]
            scores.append(2.0 * LCSseq.similarity(a, b) / (len(a) + len(b)) if a and b else 0.0)
        return scores

    def _encode(self, text: str) -> list[int]:
        # rouge_score's tokens are the runs of [a-z0-9] in the lower-cased text; bytes.translate finds them
        # four times faster than a pattern does ("replace" makes every other character a question mark).
        tokens = text.lower().encode("ascii", "replace").translate(_ALPHANUMERIC).split()
        return list(map(self._vocabulary.__getitem__, tokens))


def clean_principle(text: str) -> str:
    """The principle a model wrote: its first line with words, without bullet, "Principle:" and quotes."""
    for line in text.splitlines():
        principle = _strip_line(line)
        if principle:
            return principle
    return ""


def _strip_line(line: str) -> str:
    before, line = None, line.strip()
    while line != before:
        before = line
        line = _unquote(_PREFIX.sub("", _BULLET.sub("", line)).strip())
    return line


def _unquote(line: str) -> str:
    """Drop quotes around the whole line, or one that was never closed; leave quotes around some words."""
    for opening, closing in _QUOTES.items():
        starts, ends = line.startswith(opening), line.endswith(closing)
        inside = line[len(opening) : -len(closing)]
        if starts and ends and len(line) > len(opening) and opening not in inside and closing not in inside:
            return inside.strip()
        if starts and closing not in line[len(opening) :]:
            return line[len(opening) :].strip()
    return line


def normalise_principle(text: str) -> str:
    """The form in which exact duplicates are equal: case folded, single spaces, no final punctuation."""
    return " ".join(text.casefold().split()).rstrip(" .,;:!?…。！？")


def principle_id(text: str) -> str:
    """16 hexadecimal digits of the SHA-256 of the normalised text: the same for exact duplicates."""
    return hashlib.sha256(normalise_principle(text).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def leaks_gold(principle: str, gold: str, visible_texts: Iterable[str], n_words: int) -> bool:
    """Whether n consecutive words of z stand so in yG and in none of the visible texts (x and y1).

    Case and punctuation do not count; `n_words` = 0 turns the guard off."""
    if n_words == 0:
        return False
    quoted = _ngrams(principle, n_words) & _ngrams(gold, n_words)
    for text in visible_texts:
        quoted -= _ngrams(text, n_words)
    return bool(quoted)


def _ngrams(text: str, n: int) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def judge_principle(
    principle: str, finished: FinishReason, draft: Draft, example: Example, config: EStepConfig
) -> CandidateStatus | None:
    """Why a cleaned z cannot be refined under, or None if it can.

    A z cut at the token limit is not too long for that alone: what was cut may be chatter after its line."""
    if finished in ("error", "overlong"):
        return _ungenerated(finished)
    if not any(character.isalpha() for character in principle):
        return "unparsable"
    if len(principle.split()) > config.max_principle_words:
        return "too_long"
    visible = [*(message["content"] for message in example.messages), draft.text]
    if leaks_gold(principle, example.gold, visible, config.leak_words):
        return "leaks_gold"
    return None


def _judge_response(candidate: Candidate, finished: FinishReason, draft: Draft, config: EStepConfig):
    if finished in ("error", "overlong"):
        return _ungenerated(finished)
    if not candidate.response.strip():
        return "empty"
    if finished == "length":
        return "too_long"
    if candidate.score is None or draft.score is None:
        return "unscored"
    return "no_gain" if candidate.score <= draft.score + config.margin else "accepted"


def _ungenerated(finished: FinishReason) -> CandidateStatus:
    # A chat that does not fit the model is the text's fault, an error is the sampler's.
    return "too_long" if finished == "overlong" else "failed"


def judge(
    candidate: Candidate,
    proposed: FinishReason,
    refined: FinishReason,
    draft: Draft,
    example: Example,
    config: EStepConfig,
) -> Candidate:
    """The candidate with its gain and its status before selection, from how its z and its y2 ended.

    The first reason that applies is given, in the order of the work: z failed, unparsable, too_long,
    leaks_gold; then y2 failed, empty, too_long, unscored, no_gain; else accepted."""
    status = judge_principle(candidate.principle, proposed, draft, example, config)
    if status is None:
        status = _judge_response(candidate, refined, draft, config)
    scored = candidate.score is not None and draft.score is not None
    return replace(candidate, status=status, gain=candidate.score - draft.score if scored else None)


def select(candidates: Sequence[Candidate], keep: int) -> list[Candidate]:
    """One prompt's judged candidates: the `keep` best accepted are selected, other accepted are not_best.

    Best is the highest score, at a tie the lowest sample index. The order of the candidates is kept."""
    accepted = [candidate for candidate in candidates if candidate.status == "accepted"]
    best = {c.sample for c in sorted(accepted, key=lambda c: (-c.score, c.sample))[:keep]}
    return [
        replace(c, selected=c.sample in best, status="accepted" if c.sample in best else "not_best")
        if c.status == "accepted"
        else replace(c, selected=False)
        for c in candidates
    ]
