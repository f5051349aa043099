"""The store: one DuckDB file and one folder a run, under one home. The only code that imports duckdb.

`Store` holds the two places; the modules beside it read and write one group of tables each:
`corpora` (datasets, prompts, assignments), `runs` (runs, iterations, segments), `results` (drafts, candidates,
trajectories, training rows, evaluations), `constitutions` (clusters, edits, versions), `lineages` (what continues
what), `principles` (those of an iteration, for people to explore).
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lpd_core.config import lpd_home
from lpd_core.errors import UserError, suggest
from lpd_core.store.database import Database
from lpd_core.store.run_folder import RunFolder, RunState

__all__ = ["Database", "RunFolder", "RunState", "Store"]


class Store:
    """The database and the run folders under one home (`$LPD_HOME` by default)."""

    def __init__(self, home: Path | None = None):
        self.home = Path(home) if home is not None else lpd_home()
        self.database = Database(self.home / "lpd.duckdb")
        self.runs = self.home / "runs"
        self.cache = self.home / "cache"

    def run_ids(self) -> list[str]:
        """The runs that have a folder, oldest first; hidden ones are on their way in or out."""
        if not self.runs.is_dir():
            return []
        # A link could lead anywhere, and a run's folder is written to and deleted.
        found = []
        for path in self.runs.iterdir():
            if path.name.startswith(".") or path.is_symlink():
                continue
            if (path / "config.toml").is_file():
                with suppress(FileNotFoundError):  # deleted meanwhile
                    found.append(((path / "config.toml").stat().st_mtime, path.name))
        return [name for _, name in sorted(found)]

    def run(self, run_id: str) -> RunFolder:
        """The folder of a run, by its id or `last`. Raises `UserError` when there is none."""
        known = self.run_ids()
        if run_id == "last" and known:
            return RunFolder(self.runs / known[-1])
        if run_id not in known:
            there = suggest(run_id, known) if known else "there are no runs yet; start one with `run`"
            raise UserError(f"no run {run_id!r} under {self.runs}; {there}")
        return RunFolder(self.runs / run_id)
