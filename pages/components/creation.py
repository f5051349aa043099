"""Creating a run from a page: a process with limits reads its data files, so that the server never pays for them."""

from __future__ import annotations

from lpd_core.config import RunConfig, to_toml
from lpd_core.errors import UserError
from lpd_core.inquiry import Inquiry
from lpd_core.store import RunFolder
from pages.components import reads

MEMORY = 4 * 2**30
"""Bytes of memory that a process may take which reads the data files of a run."""
LIMITS = {"seconds": 600.0, "memory": MEMORY}
"""A data set may have to be fetched from the hub."""


def create_run(config: RunConfig) -> RunFolder:
    """A new run, not yet started. Raises `UserError` with the line that says why there is none."""
    store = reads.store()
    told = Inquiry(
        ["create", "--config", "{run.toml}"], store.home, files={"run.toml": to_toml(config)}, **LIMITS
    )
    answer = told.wait()
    if answer.error:
        raise UserError("; ".join((answer.error, *answer.problems[:1])))
    return store.run(answer.value["run_id"])
