"""Getting ready before the first visitor: what pages import, and DuckDB, are loaded while the server starts."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from pathlib import Path

from lpd_core.errors import LpdError
from pages.components import reads


def warm() -> None:
    """Load the modules now, and open the database once in the background, so that a busy one holds up nobody."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"pages.components.{module.name}")
    threading.Thread(target=_open_store, daemon=True).start()


def _open_store() -> None:
    try:
        if reads.has_store():
            reads.store().database.query("select 1")
    except LpdError:
        return  # the page that needs it says so
