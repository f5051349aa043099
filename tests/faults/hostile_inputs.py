"""What the product answers to inputs that were made to hurt it: one line each, no crash, bounded time and memory.

`python -m tests.faults.hostile_inputs` prints the answers, `--write` puts them into docs/reliability.md, `--check` ends
with 1 where the document tells another answer, an input took too long or all together took too much memory.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lpd_core.errors import DataError, LpdError
from tests.faults.document import PROJECT, rewrite, section
from tests.faults.hostile_files import CONFIGURATIONS, CORPORA, PRINCIPLES, RESTORED, made

SECONDS = 20.0
MEMORY = 1536 * 2**20
WIDTH = 170

ENDLESS = ("with recursive", "select levenshtein")
QUERIES = (
    "copy (select 1) to '/tmp/stolen.csv'",
    "attach '/tmp/other.duckdb'",
    "install httpfs",
    "load httpfs",
    "export database '/tmp/all'",
    "import database '/tmp/all'",
    "select * from read_csv('/etc/passwd')",
    "select * from read_text('/etc/passwd')",
    "select * from read_blob('/etc/shadow')",
    "select * from read_json('https://evil.example/x.json')",
    "select * from '/etc/passwd'",
    "select * from glob('/**')",
    "select * from query('delete from runs')",
    "pragma database_list",
    "set enable_external_access = true",
    "call pragma_version()",
    "drop table runs",
    "delete from candidates",
    "update runs set name = 'mine'",
    "create table mine as select 1",
    "select 1; drop table runs",
    "select getenv('HOME')",
    "select sum(a.range * b.range) from range(100000000) a, range(100000000) b",
    "with recursive t(n) as (select 1 union all select n + 1 from t) select max(n) from t",
    "select string_agg(range::varchar || repeat('x', 1000)) from range(10000000)",
    "select repeat('x', 2000000000)",
    "select levenshtein(repeat('a', 100000), repeat('b', 100000))",
    "select repeat('x', 1000000) from range(1000)",
    "select " + "(" * 5000 + "1" + ")" * 5000,
    "select 'zero\0byte'",
    "select * from no_such_table",
    "",
)
SETTINGS = (
    "e_step.n=1e999",
    "e_step.n=" + "9" * 5000,
    "e_step.n=[" * 3000,
    "=".join(["a." * 5000, "1"]),
    "no equals sign",
    "e_step.temperature=0.7",
    "iterations=-1",
    "data.train=5",
    "e_step=1",
)
RUN_NAMES = ("../../etc/cron.d/run", "/etc/passwd", "zero\0byte", "", "n" * 5000, "two\nlines")
RUN_IDS = ("../../../etc", "/etc", "small-1/../../..", "last\0", "<script>alert(1)</script>", "linked")
ALIASES = ("", " ahead", "found", "1.2", "a" * 5000, "zero\0byte", "two\nlines")
EVENTS = (
    '{"at": 1, "kind": "Progress", "iteration": 1, "stage": "e_step", "do',
    "[" * 100_000,
    '{"at": 1, "kind": "__class__"}',
    '{"at": 1, "kind": ["Progress"]}',
    '{"at": 1e999, "kind": "StatusChanged", "status": "running"}',
    '{"at": 1, "kind": "Progress", "iteration": 1, "stage": "e_step", "done": "many", "total": 5}',
    '{"at": 1, "kind": "Progress", "iteration": 1, "stage": "e_step", "done": 1, "total": '
    + "9" * 4000
    + "}",
)
MODELS = ("only a pickle", "torn weights", "no configuration", "a hub name with ../")


@dataclass(frozen=True)
class Input:
    """One hostile input: of what sort, how it is told of, and the asking of the product, which returns its answer."""

    sort: str
    shown: str
    ask: Callable[[], object]


def inputs(place: Path) -> Iterator[Input]:
    """All of them; files are made under `place`."""
    yield from _queries(place)
    yield from _configurations(place)
    yield from _data(place)
    yield from _names(place)


def _queries(place: Path) -> Iterator[Input]:
    from lpd_core.store import Store, console

    store = Store(place / "home")
    store.database.query("select 1")

    def ask(sql: str) -> object:
        # The same watchdog: sooner for what has no end, later for what must end for want of memory.
        console.SECONDS = 4.0 if sql.startswith(ENDLESS) else 60.0
        return console.read_only_query(store, sql)

    for sql in QUERIES:
        yield Input("SQL console", sql, lambda sql=sql: ask(sql))


def _configurations(place: Path) -> Iterator[Input]:
    from lpd_core.config import load_config

    for name, make in CONFIGURATIONS.items():
        yield Input("configuration", name, lambda n=name, m=make: load_config(file=made(place, n, m)))
    for text in SETTINGS:
        yield Input("--set", text, lambda t=text: load_config(preset="smoke", assignments=[t]))


def _data(place: Path) -> Iterator[Input]:
    from lpd_core.backups import restore
    from lpd_core.constitution import read_principles
    from lpd_core.corpus import read_corpus

    for name, make in CORPORA.items():
        yield Input("data file", name, lambda n=name, m=make: read_corpus(made(place, n, m)))
    for name, make in PRINCIPLES.items():
        yield Input("principles", name, lambda n=name, m=make: read_principles(made(place, n, m)))
    for number, (name, make) in enumerate(RESTORED.items()):
        to = place / f"restored{number}"
        yield Input("backup", name, lambda n=name, m=make, to=to: restore(made(place, n, m), to))


def _names(place: Path) -> Iterator[Input]:
    from lpd_core.config import parse_config
    from lpd_core.corpus import read_corpus
    from lpd_core.events import from_line
    from lpd_core.store import Store
    from lpd_core.store.constitutions import check_alias

    rows = made(place, "good.jsonl", lambda path: path.write_text('{"prompt": "a", "gold": "b"}\n'))
    outside = place / "outside"
    outside.mkdir(parents=True)
    (outside / "config.toml").write_text("")
    (place / "home" / "runs").mkdir(parents=True)
    (place / "home" / "runs" / "linked").symlink_to(outside)
    for name in RUN_NAMES:
        yield Input("run name", name, lambda n=name: parse_config({"name": n}))
        yield Input("data set name", name, lambda n=name: read_corpus(rows, name=n))
    for run_id in RUN_IDS:
        yield Input("run id", run_id, lambda r=run_id: Store(place / "home").run(r))
    for alias in ALIASES:
        yield Input("alias", alias, lambda a=alias: check_alias(a))
    for line in EVENTS:
        yield Input("event line", line, lambda text=line: from_line(text))
    yield from _models(place)


def _models(place: Path) -> Iterator[Input]:
    from lpd_core.model_files import check_model_folder

    for name in MODELS:
        folder = place / name
        if name != MODELS[-1]:
            folder.mkdir()
            file = "pytorch_model.bin" if name == MODELS[0] else "model.safetensors"
            (folder / file).write_bytes(b"\xff" * 64)
        if name in MODELS[:2]:
            (folder / "config.json").write_text("{}")
        at = Path("../../../no/../model") if name == MODELS[-1] else folder
        yield Input("model folder", name, lambda f=at: check_model_folder(f))


@dataclass(frozen=True)
class Answered:
    """What came back, and how long it took in seconds."""

    sort: str
    shown: str
    answer: str
    seconds: float


def answers() -> list[Answered]:
    """Every input put to the product."""
    told = []
    with tempfile.TemporaryDirectory(prefix="lpd-hostile-") as folder:
        for each in inputs(Path(folder) / "a" / "b"):
            started = time.monotonic()
            answer = _answer_of(each).replace(folder, "PLACE")
            told.append(Answered(each.sort, each.shown, answer, time.monotonic() - started))
    return told


def _answer_of(each: Input) -> str:
    """The error in one line, or `taken: ...`; what is no error of ours escapes and ends the program."""
    try:
        return f"taken: {each.ask()!r}"
    except DataError as cause:
        first = str(next(iter(cause.problems), ""))
        return str(cause) if first in str(cause) else f"{cause}; {first}"
    except LpdError as cause:
        return str(cause)


def as_table(told: list[Answered]) -> str:
    """The answers as a Markdown table."""
    rows = [
        f"| {n} | {each.sort} | {_cell(each.shown)} | {_cell(each.answer)} |"
        for n, each in enumerate(told, 1)
    ]
    return "\n".join(["| | input | what | answer |", "|---|---|---|---|", *rows])


def _cell(text: str) -> str:
    """A text as code in a table's cell: one line, shortened in its middle."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", lambda found: f"\\x{ord(found[0]):02x}", text)
    line = line if len(line) <= WIDTH else f"{line[: WIDTH - 60]} ... {line[-50:]}"
    return "`` " + line.replace("|", "¦").replace("``", "''") + " ``"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    os.chdir(PROJECT)
    told = answers()
    table = as_table(told)
    peak = peak_memory()
    slowest = max(told, key=lambda each: each.seconds)
    if options.write:
        rewrite("hostile inputs", table)
    if not options.check:
        print(table)
    print(
        f"{len(told)} inputs, the slowest {slowest.seconds:.1f} s ({slowest.shown[:60]!r}), peak {peak / 2**20:.0f} MiB"
    )
    different = [line for line in table.splitlines() if line not in section("hostile inputs").splitlines()]
    wrong = [f"docs/reliability.md tells otherwise: {line}" for line in different]
    if slowest.seconds > SECONDS:
        wrong.append(f"{slowest.shown[:60]!r} took {slowest.seconds:.1f} s, allowed are {SECONDS:.0f}")
    if peak > MEMORY:
        wrong.append(f"the inputs took {peak / 2**20:.0f} MiB, allowed are {MEMORY / 2**20:.0f}")
    if options.check and wrong:
        sys.exit("\n".join(wrong))


def peak_memory() -> int:
    """The most memory this program held, in bytes. `getrusage` would tell what the process that started it held:
    Linux carries that figure over an `exec`."""
    told = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", told)[1]) * 1024


if __name__ == "__main__":
    main()
