"""The server stays light: no page loads a model library, and none opens the database itself."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

from conftest import PROJECT

HEAVY = (
    "torch",
    "transformers",
    "trl",
    "vllm",
    "bertopic",
    "umap",
    "sentence_transformers",
    "sklearn",
    "numba",
)
OPEN_ALL = f"""
import sys
sys.path[:0] = [{str(PROJECT)!r}, {str(PROJECT / "tests")!r}]
from dashboard.conftest import open_page
from pathlib import Path
for page in sorted(path.stem for path in Path({str(PROJECT / "pages")!r}).glob("*.py")):
    app = open_page(page)
    assert not app.exception, (page, app.exception)
    print(page, *sorted(set({HEAVY!r}) & set(sys.modules)))
"""


def test_rendering_every_page_loads_no_model_library(looking):
    home = looking("finished")
    told = subprocess.run(
        [sys.executable, "-c", OPEN_ALL],
        cwd=PROJECT,
        env={**os.environ, "LPD_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr[-2000:]
    loaded = [line for line in told.stdout.splitlines() if len(line.split()) > 1]
    assert loaded == []
    assert len(told.stdout.splitlines()) >= 9


def test_pages_open_no_database_themselves():
    for path in [PROJECT / "app.py", *(PROJECT / "pages").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("duckdb", *HEAVY) for name in names), path
