"""The error vocabulary: one base class and a few children, each telling the user what can be done.

Leaf code raises plain errors; adapters wrap what escapes at their border with `boundary`, which keeps the
cause. The command line turns `UserError` into exit code 2, `CheckFailed` into 1, and prints no traceback
for either.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

EXIT_INTERRUPTED = 75
"""What a stage or driver exits with when the environment gave way, so that whoever started it knows a resume goes on."""
FULL = ("No space left on device", "os error 28", "PytorchStreamWriter failed", "inline_container.cc")
"""What safetensors and torch say of a disk that takes no more."""
LOST_GPU = ("CUDA error", "NCCL error")


class LpdError(Exception):
    """Base of every foreseeable error. The message says the value, what is allowed and how to mend it."""


class UserError(LpdError):
    """The user's input, file or setting cannot be used as it is (exit code 2)."""


class ConfigError(UserError):
    """A setting is unknown, out of bounds or does not fit the others."""


class DataError(UserError):
    """A data file or row cannot be used; `problems` lists them, one line each, with line numbers."""

    def __init__(self, message: str, problems: Iterable[str] = ()):
        super().__init__(message)
        self.problems = tuple(problems)


class EditRefused(UserError):
    """An edit of the constitution is impossible; the log is unchanged."""


class CheckFailed(LpdError):
    """A check ran and found a violated promise (exit code 1)."""


class StageFailed(LpdError):
    """A stage ended without its result; the message names the log file to read."""


class Interrupted(LpdError):
    """The environment gave way (disk, memory, lock, server); nothing done is lost and `resume` goes on."""


@contextmanager
def boundary(error: type[LpdError], doing: str) -> Iterator[None]:
    """Turn whatever escapes the block into `error("could not {doing}: {cause}")`, keeping the cause.

    An `LpdError` passes through unchanged; where the environment gave way it is `Interrupted` instead."""
    try:
        yield
    except LpdError:
        raise
    except Exception as cause:
        told = gave_way(cause)
        if told:
            raise Interrupted(f"could not {doing}: {told}") from cause
        raise error(f"could not {doing}: {type(cause).__name__}: {cause}") from cause


def gave_way(cause: BaseException | None) -> str:
    """Why it was the environment that failed, with the mend, or nothing: a full disk, a lost GPU, no more memory."""
    while cause is not None:
        words = str(cause)
        if getattr(cause, "errno", None) == errno.ENOSPC or any(each in words for each in FULL):
            return "the disk is full: free some space and try again"
        if isinstance(cause, RuntimeError) and any(each in words for each in LOST_GPU):
            return f"the GPU gave way ({words.splitlines()[0]}): look at nvidia-smi and try again"
        if isinstance(cause, MemoryError):
            return "out of memory; lower sampler.token_budget or sampler.workers"
        cause = cause.__cause__ or cause.__context__
    return ""


def suggest(value: str, allowed: Iterable[str]) -> str:
    """A sentence naming the allowed values and, where one is close to `value`, the likely intent."""
    names = sorted(allowed)
    close = difflib.get_close_matches(value, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}allowed: {', '.join(names)}"
