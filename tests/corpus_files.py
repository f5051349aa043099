"""Small data files for the tests of the corpus import, and what every refusal must hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lpd_core.corpus import Corpus, read_corpus
from lpd_core.errors import DataError

FIXTURES = Path(__file__).parent / "fixtures" / "corpus"
GOOD = {"prompt": "What is tea?", "gold": "A drink."}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


def write(folder: Path, content: bytes | str, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_rows(folder: Path, *rows: object) -> Path:
    return write(folder, "".join(json.dumps(row) + "\n" for row in rows))


def refusal(path: Path, **options) -> DataError:
    """The error, after checking what holds for each: one line, which names the file."""
    with pytest.raises(DataError) as caught:
        read_corpus(path, **options)
    message = str(caught.value)
    assert message.isprintable()
    assert path.name in message
    return caught.value


def prompts_and_golds(corpus: Corpus) -> list[tuple[str, str]]:
    return [(example.messages[-1]["content"], example.gold) for example in corpus.examples]


def fixture_rows(name: str) -> list[dict]:
    text = (FIXTURES / name).read_text()
    return json.loads(text) if name.endswith(".json") else list(map(json.loads, text.splitlines()))
