"""Log files for people: their end, a search in it, and what a failure probably asks for. Reads tails only, so that
a log of any size costs the same."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

TAIL_BYTES = 128 * 1024
"""Read from the end for a tail."""
SEARCH_BYTES = 16 * 2**20
"""Read from the end for a search."""
DOWNLOAD_BYTES = 64 * 2**20
"""Most that a download takes, from the end."""
LINE_CHARACTERS = 2000
"""Longer lines are cut."""
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Tail:
    """The last lines of a log, or those of them that match; `whole` unless something before them was not read."""

    lines: tuple[str, ...]
    size: int
    whole: bool
    matches: int = 0


def tail(path: Path, lines: int = 200) -> Tail:
    """The last lines of a log; an absent one is empty."""
    data, size = last_bytes(path, TAIL_BYTES)
    found = _lines(data, cut=size > len(data))
    return Tail(tuple(found[-lines:]), size, size == len(data) and len(found) <= lines)


def search(path: Path, words: str, lines: int = 200) -> Tail:
    """The last lines that contain the words, in any case, among the last `SEARCH_BYTES`."""
    data, size = last_bytes(path, SEARCH_BYTES)
    wanted = words.casefold()
    found = [line for line in _lines(data, cut=size > len(data)) if wanted in line.casefold()]
    return Tail(tuple(found[-lines:]), size, size == len(data), len(found))


def last_bytes(path: Path, most: int) -> tuple[bytes, int]:
    """The last bytes of a file and its size."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most))
            return file.read(most), size
    except OSError:
        return b"", 0


def _lines(data: bytes, cut: bool) -> list[str]:
    """Readable lines: without terminal codes, a progress bar as its last state, a first line cut in two left out."""
    found = data.decode("utf-8", "replace").split("\n")
    if found and not found[-1]:
        found.pop()
    if cut and len(found) > 1:
        found = found[1:]
    return [CONTROL.sub("", line.rstrip("\r").rsplit("\r", 1)[-1])[:LINE_CHARACTERS] for line in found]


REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"no space left|disk is full",
        "Free some space where runs are kept (deleting a run below says how much it frees), then resume: nothing "
        "that was committed is lost.",
    ),
    (
        r"cuda out of memory|outofmemoryerror|cuda error: out of memory",
        "The GPU's memory ran out. Clone the run with a smaller sampler.token_budget or m_step.micro_batch, or with "
        "m_step.lora_rank or m_step.gradient_checkpointing; if something else held the memory, end it and resume.",
    ),
    (
        r"sigkill|out of memory|cannot allocate memory|memoryerror|failed to map segment|bad_alloc|memory allocation failed",
        "The machine's memory probably ran out. Close what else is running and resume; if it happens again, clone "
        "the run with fewer sampler.workers or a smaller sampler.token_budget.",
    ),
    (
        r"has nothing to (train|learn)|no training rows|nothing to train on|no principle|no trajector",
        "Too little gained. Clone the run with a lower e_step.margin, a higher e_step.n or more prompts, and look at "
        "the rejected candidates on Trajectories: their reasons say what to change.",
    ),
    (
        r"busy for \d+ s",
        "Another process held the database. End it if it hangs (its PID is in the message), then resume.",
    ),
    (
        r"does not hold run",
        "The database was moved or replaced. Put it back from a copy, then resume.",
    ),
    (
        r"no permission|read-only file system",
        "Point $LPD_HOME at a folder that this account may write to, or give it the right, then resume.",
    ),
    (
        r"died without a word|ended by sig",
        "It was killed from outside: by a person, a restart of the machine, or for want of memory. Resume goes on "
        "from what is committed.",
    ),
    (
        r"did not start",
        "Read logs/driver.log below: the driver ended before its first word. Mend what it names, then resume.",
    ),
    (
        r"no such file|does not exist|not found|no model",
        "Something the run needs is no longer where the configuration says. Put it back and resume, or clone the "
        "run and name the right place.",
    ),
)


def remedy(error: str, lines: tuple[str, ...] = ()) -> str:
    """What to do about a run that broke, by its error and, where that says nothing, the end of its log."""
    for text in (error, "\n".join(lines)):
        for pattern, told in REMEDIES:
            if re.search(pattern, text, re.IGNORECASE):
                return told
    return (
        "Resume goes on from what is committed. If it breaks at the same place again, the last lines of the log say "
        "why; a clone can be given other settings."
    )
