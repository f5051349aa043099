"""Which training prompts repeat a benchmark's: exactly, or in thirteen words in a row.

Texts are compared as words (case folded, punctuation and white space dropped). A training row is looked
through whole: every turn of its prompt, and its gold. The benchmarks are the user's files or imported
evaluation data; none is shipped.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lpd_core.corpus.benchmarks import benchmark_of
from lpd_core.corpus.readers import READERS
from lpd_core.corpus.reading import MAX_ROW_BYTES, file_kind, shown
from lpd_core.errors import DataError
from lpd_core.types import Example

N = 13
"""Words in a row that count as an overlap."""
STRIDE = 7
BLOCK = N - STRIDE + 1
"""Every window of N words holds a block of BLOCK words that begins at a multiple of STRIDE: looking those up
first, then the windows around a hit, finds the same overlaps with a seventh of the work."""
WORD = re.compile(r"\w+")
TEXT_FIELDS = ("prompt", "instruction", "question", "text")
KEY_FIELDS = ("key", "question_id", "id", "_id", "prompt_id")


@dataclass(frozen=True, slots=True)
class BenchmarkPrompt:
    """One prompt text of a benchmark; `key` is its id there."""

    benchmark: str
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Contamination:
    """A training prompt that repeats a benchmark's: word for word, or thirteen words of it (`text`)."""

    prompt_id: str
    benchmark: str
    key: str
    kind: Literal["exact", "13-gram"]
    text: str


def find_contamination(
    examples: Iterable[Example], benchmarks: Iterable[BenchmarkPrompt]
) -> list[Contamination]:
    """Every pair of a training example and a benchmark prompt that share their words, each once, in the
    order of the examples. An exact match is told as such, else the first thirteen words that overlap."""
    index = _index(benchmarks)
    found = []
    for example in examples:
        matches: dict[tuple[str, str], Contamination] = {}
        for text in (*(message["content"] for message in example.messages), example.gold):
            for prompt, kind, words in index.matches(WORD.findall(text.casefold())):
                place = (prompt.benchmark, prompt.key)
                if place not in matches or (kind == "exact" and matches[place].kind != "exact"):
                    matches[place] = Contamination(example.prompt_id, *place, kind, words)
        found += matches.values()
    return found


@dataclass(frozen=True, slots=True)
class _Index:
    """The benchmarks' word sequences: whole, by every block, and by every window."""

    whole: Mapping[tuple[str, ...], Sequence[BenchmarkPrompt]]
    blocks: frozenset[str]
    windows: Mapping[str, Sequence[BenchmarkPrompt]]

    def matches(self, words: list[str]) -> Iterator[tuple[BenchmarkPrompt, str, str]]:
        """(benchmark prompt, kind, shared words) for everything the words repeat."""
        for prompt in self.whole.get(tuple(words), ()):
            yield prompt, "exact", " ".join(words)
        last = len(words) - N
        for start in range(0, len(words) - BLOCK + 1, STRIDE):
            if " ".join(words[start : start + BLOCK]) in self.blocks:
                for first in range(max(0, start - STRIDE + 1), min(start, last) + 1):
                    window = " ".join(words[first : first + N])
                    for prompt in self.windows.get(window, ()):
                        yield prompt, f"{N}-gram", window


def _index(benchmarks: Iterable[BenchmarkPrompt]) -> _Index:
    whole, windows = defaultdict(list), defaultdict(list)
    blocks = set()
    for prompt in benchmarks:
        words = WORD.findall(prompt.text.casefold())
        if words:
            whole[tuple(words)].append(prompt)
        for start in range(len(words) - N + 1):
            windows[" ".join(words[start : start + N])].append(prompt)
        blocks.update(" ".join(words[start : start + BLOCK]) for start in range(len(words) - BLOCK + 1))
    return _Index(whole, frozenset(blocks), windows)


def read_benchmark(path: str | os.PathLike[str], name: str | None = None) -> list[BenchmarkPrompt]:
    """The prompts of a benchmark's file: IFEval, MT-Bench (each turn), AlpacaEval, or any rows with a prompt,
    instruction, question or text. Raises `DataError` for an unusable file and a row without a text."""
    path = Path(path)
    prompts = []
    for row in READERS[file_kind(path)](path, MAX_ROW_BYTES):
        if row.error:
            raise DataError(f"{shown(path)}: {row.place.text}: {row.error.reason}")
        texts = _texts(row.value)
        if not texts:
            wanted = ", ".join((*TEXT_FIELDS, "messages", "turns"))
            raise DataError(f"{shown(path)}: {row.place.text} holds no prompt; it needs one of {wanted}")
        benchmark = name or benchmark_of(row.value) or path.stem
        key = next((str(row.value[k]) for k in KEY_FIELDS if row.value.get(k) is not None), row.place.key)
        prompts += [BenchmarkPrompt(benchmark, key, text) for text in texts]
    return prompts


def _texts(row: Mapping[str, Any]) -> list[str]:
    """The user's texts of a benchmark's row."""
    if isinstance(row.get("turns"), list):
        return [turn for turn in row["turns"] if isinstance(turn, str)]
    if isinstance(row.get("messages"), list):
        turns = [turn for turn in row["messages"] if isinstance(turn, dict) and turn.get("role") == "user"]
        return [turn["content"] for turn in turns if isinstance(turn.get("content"), str)]
    return [row[field] for field in TEXT_FIELDS if isinstance(row.get(field), str)][:1]


def prompts_as_benchmark(name: str, examples: Iterable[Example]) -> list[BenchmarkPrompt]:
    """The user turns of imported evaluation data as a benchmark; later turns that its rows hold included."""
    return [
        BenchmarkPrompt(name, example.prompt_id.partition(":")[2], text)
        for example in examples
        for text in dict.fromkeys(
            (
                *(message["content"] for message in example.messages if message["role"] == "user"),
                *example.meta.get("turns", ()),
            )
        )
    ]
