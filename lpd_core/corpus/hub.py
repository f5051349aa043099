"""Data sets of the Hugging Face hub by name: `hf:owner/name@revision#config/split`, pinned to a commit.

What is fetched is written once as Parquet, named by the commit, and read like any other file; a source that
names its whole commit needs no network the second time. `datasets` is imported only when something is fetched.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lpd_core.errors import DataError
from lpd_core.store.run_folder import sync, sync_names

PREFIX = "hf:"
SOURCE = re.compile(
    r"hf:(?P<repository>[\w.-]+/[\w.-]+|[\w.-]+)(?:@(?P<revision>[\w./-]+))?"
    r"(?:#(?:(?P<config>[\w.+-]+)/)?(?P<split>[\w.+-]+(?:\[[\d:%]+\])?))?"
)
COMMIT = re.compile(r"[0-9a-f]{40}")
PART_SECONDS = 3600.0
"""A part of a data set that nobody has written to for this long is left of a fetch that was killed."""


@dataclass(frozen=True, slots=True)
class HubSource:
    """A data set on the hub: its repository, revision (branch, tag or commit), configuration and split."""

    repository: str
    revision: str = "main"
    config: str | None = None
    split: str = "train"

    def __str__(self) -> str:
        part = f"{self.config}/{self.split}" if self.config else self.split
        return f"{PREFIX}{self.repository}@{self.revision}#{part}"

    @property
    def name(self) -> str:
        """A name for the data set, from the repository and the configuration."""
        return "-".join(filter(None, (self.repository.rpartition("/")[2], self.config)))[:80]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A fetched data set: the source with its commit, the Parquet file, the licence its card states."""

    source: HubSource
    path: Path
    license: str | None


def parse_source(text: str) -> HubSource:
    """The parts of `hf:owner/name@revision#config/split`. Raises `DataError` showing the form."""
    match = SOURCE.fullmatch(text)
    if not match:
        raise DataError(f"{text!r} names no data set of the hub; write hf:owner/name@revision#config/split")
    return HubSource(**{key: value for key, value in match.groupdict().items() if value})


def fetch(source: HubSource, cache: Path) -> Fetched:
    """Fetch the data set into `cache`, or find it there. Raises `DataError` in one line when the hub cannot be
    reached and the very commit is not cached, or the repository, revision or split does not exist."""
    if COMMIT.fullmatch(source.revision) and _file(source, cache).exists():
        return Fetched(source, _file(source, cache), None)
    pinned, license = _resolve(source)
    path = _file(pinned, cache)
    if not path.exists():
        _download(pinned, path)
    return Fetched(pinned, path, license)


def is_offline() -> bool:
    """Whether the environment forbids asking the hub, as `huggingface_hub` reads it, but now and not at its import."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _file(source: HubSource, cache: Path) -> Path:
    return cache / "hub" / f"{hashlib.sha256(str(source).encode()).hexdigest()[:24]}.parquet"


def _resolve(source: HubSource) -> tuple[HubSource, str | None]:
    """The source with the commit that its revision means now, and the licence of its card."""
    from huggingface_hub import HfApi

    if is_offline():
        raise DataError(f"{source} cannot be fetched: HF_HUB_OFFLINE is set; unset it, or import a file")
    try:
        info = HfApi().dataset_info(source.repository, revision=source.revision, timeout=30)
    except Exception as cause:  # the client raises its own, its HTTP library's and the system's errors
        raise _cannot_fetch(source, cause) from cause
    license = info.card_data.get("license") if info.card_data else None
    return replace(source, revision=info.sha), ", ".join(license) if isinstance(license, list) else license


def _download(source: HubSource, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_parts(path.parent)
    try:
        from datasets import load_dataset

        rows = load_dataset(source.repository, source.config, split=source.split, revision=source.revision)
        handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
        os.close(handle)
        try:
            rows.to_parquet(part)
            sync(Path(part))
            os.replace(part, path)
            sync_names(path.parent)
        finally:
            Path(part).unlink(missing_ok=True)
    except Exception as cause:  # as above, and whatever a damaged file makes of the readers
        raise _cannot_fetch(source, cause) from cause


def _remove_parts(folder: Path) -> None:
    """Remove what fetches left that were killed; one at work writes all the time."""
    for part in folder.glob("*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > PART_SECONDS:
                part.unlink()


def _cannot_fetch(source: HubSource, cause: Exception) -> DataError:
    reason = " ".join(str(cause).split()) or type(cause).__name__
    advice = "check name, revision, split and network, or import a file you have"
    return DataError(f"{source} cannot be fetched ({reason[:200]}); {advice}")
