"""Every parser under generated input: whatever comes, a value or an error of ours with a line to read.

Short within the test suite; the long form is `make fuzz`: 100,000 inputs a target, or as many as fit its minutes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lpd_core.errors import LpdError
from tests.faults.document import rewrite

WORDS = st.sampled_from(
    'principle text name prompt gold messages role content user assistant schema entries for kind at Progress "" [ ] { } '
    ": , - # & * ! | > \\n \\t = 1 -1 1e9 nan true null ' \" \\ ../ 1. [[7]] [[A]] <think> </think> Principle:".split(
        " "
    )
)
TEXTS = st.one_of(
    st.text(max_size=200),
    st.lists(WORDS, max_size=40).map(" ".join),
    st.lists(WORDS, max_size=40).map("".join),
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | WORDS
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=10), inner, max_size=5)
    ),
    max_leaves=15,
)
"""JSON-like values whose keys are often those that the parsers know."""


def _file(suffix: str, content: bytes) -> Path:
    path = Path(tempfile.gettempdir()) / f"lpd-fuzz-{_SESSION}{suffix}"
    path.write_bytes(content)
    return path


_SESSION = time.time_ns()


def data_rows(value) -> None:
    """A row of a data file, as JSON lines and as a list."""
    from lpd_core.corpus import read_corpus

    rows = value if isinstance(value, list) else [value]
    lines = "\n".join(json.dumps(row) for row in rows)
    read_corpus(_file(".jsonl", lines.encode()), skip_bad=True)


def data_bytes(content: bytes) -> None:
    """Any bytes as a data file, by their content."""
    from lpd_core.corpus import read_corpus

    read_corpus(_file(".csv" if len(content) % 2 else ".json", content), skip_bad=True)


def configuration_text(text: str) -> None:
    """A configuration file."""
    from lpd_core.config import parse_config, parse_toml

    parse_config(parse_toml(text))


def configuration_tree(value) -> None:
    """A tree of settings; what is taken is read back from its TOML."""
    from lpd_core.config import parse_config, parse_toml, to_toml

    config = parse_config(value if isinstance(value, dict) else {"e_step": value})
    assert parse_config(parse_toml(to_toml(config))) == config


def assignment(text: str) -> None:
    """A `--set`."""
    from lpd_core.config import load_config

    load_config(preset="smoke", assignments=[text])


def constitution_text(text: str) -> None:
    """A file of principles under each ending."""
    from lpd_core.constitution import read_principles

    for suffix in (".txt", ".md", ".json", ".jsonl", ".yaml"):
        try:
            read_principles(_file(suffix, text.encode("utf-8", "surrogatepass")))
        except LpdError:
            continue


def constitution_values(value) -> None:
    """A file of principles that is JSON, and a document of a constitution."""
    from lpd_core.constitution import read_principles
    from lpd_core.constitution.document import from_document

    with suppress(LpdError):
        read_principles(_file(".json", json.dumps(value).encode()))
    from_document({"schema": "lpd-constitution/1", "entries": value})


def event_line(value) -> None:
    """A line of events.jsonl; what is taken can be followed."""
    from lpd_core.events import KINDS, from_line
    from lpd_core.progress import RunProgress

    fields = value if isinstance(value, dict) else {"detail": value}
    for kind in KINDS:
        line = json.dumps({"at": 1.0, "kind": kind, "iteration": 1, "stage": "e_step", **fields})
        try:
            found = from_line(line)
        except LpdError:
            continue
        progress = RunProgress().take_all([found, found])
        assert progress.silent_for(1e12) is not None
        if progress.latest:
            progress.latest.eta(5.0)


def event_text(text: str) -> None:
    """Any text as an event line."""
    from lpd_core.events import from_line

    from_line(text)


def principle(text: str) -> None:
    """What a model wrote for a principle: cleaning it twice changes nothing, and it is one line."""
    from lpd_core.scoring import clean_principle

    cleaned = clean_principle(text)
    assert clean_principle(cleaned) == cleaned and len(cleaned.splitlines()) <= 1


def verdict(text: str) -> None:
    """What a judge wrote."""
    from lpd_core.judge.parsing import read_choice, read_rating

    rating = read_rating(text)
    assert rating is None or 1 <= rating <= 10
    assert read_choice(text) in (None, "first", "second", "tie")


def trajectory(text: str) -> None:
    """What a model wrote around its thinking block: no part of the block is left in the text."""
    from lpd_core.samplers.answers import without_thinking
    from lpd_core.types import Generation

    for opened in (False, True):
        without_thinking(Generation(text, "stop", 1, 1), opened)


TARGETS: dict[str, tuple[Callable, st.SearchStrategy]] = {
    "data_rows": (data_rows, VALUES),
    "data_bytes": (
        data_bytes,
        st.binary(max_size=300) | TEXTS.map(lambda text: text.encode("utf-8", "replace")),
    ),
    "configuration_text": (configuration_text, TEXTS),
    "configuration_tree": (configuration_tree, VALUES),
    "assignment": (assignment, TEXTS),
    "constitution_text": (constitution_text, TEXTS),
    "constitution_values": (constitution_values, VALUES),
    "event_line": (event_line, VALUES),
    "event_text": (event_text, TEXTS),
    "principle": (principle, TEXTS),
    "verdict": (verdict, TEXTS),
    "trajectory": (trajectory, TEXTS),
}
"""What is fuzzed, and with what."""


ROUND = 2000
"""Inputs generated before the next look at the clock."""


def fuzz_for(name: str, examples: int, seconds: float) -> int:
    """Put inputs to a target until there were `examples` of them or the time is over; how many it met."""
    give_up, met = time.monotonic() + seconds, 0
    while met < examples and time.monotonic() < give_up:
        met += fuzz(name, min(ROUND, examples - met))
    return met


def fuzz(name: str, examples: int) -> int:
    """Put `examples` inputs to a target; how many it met. Raises what escaped it, with the smallest input that
    does it."""
    target, strategy = TARGETS[name]
    met = 0

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def put(value) -> None:
        nonlocal met
        met += 1
        try:
            target(value)
        except LpdError as cause:
            assert str(cause)

    try:
        put()
    finally:
        for path in Path(tempfile.gettempdir()).glob(f"lpd-fuzz-{_SESSION}*"):
            path.unlink()
    return met


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=60.0, help="most a target")
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one; may be repeated")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    options = parser.parse_args()
    rows = ["| parser | inputs | seconds | what escaped it |", "|---|---|---|---|"]
    for name in options.target or TARGETS:
        started = time.monotonic()
        met = fuzz_for(name, options.examples, 60 * options.minutes)
        what = (TARGETS[name][0].__doc__ or name).partition(".")[0].partition(";")[0].partition(":")[0]
        rows.append(f"| {name}: {what} | {met} | {time.monotonic() - started:.0f} | nothing |")
        print(rows[-1], flush=True)
        if options.write:
            rewrite(
                "fuzzing",
                f"{datetime.now(UTC):%Y-%m-%d}, at most {options.minutes:g} minutes a parser:\n\n"
                + "\n".join(rows),
            )


if __name__ == "__main__":
    main()
