"""The house rules that a machine can check: layers, budgets, docstrings, the README's tree."""

import ast
import re
import statistics

import pytest
from conftest import PROJECT

LAYERS = {
    0: "types errors seeds machine logs",
    1: "config model_config data_config scoring_config ray_config findings events",
    2: "settings svg prompts scoring constitution metrics statistics length_control document parts model_files progress "
    "support trials tree",
    3: "samplers linkage reciprocal hierarchy clustering similar keywords layout embedding label_mask training "
    "workload trained_model launch fsdp_on_cpu training_machine training_worker weighted_sft "
    "cluster_files costs memory corpus store judge scorers ifeval",
    4: "model_card model_export measures judgements mt_bench alpaca_eval benchmark_results agreement edit_effects harness "
    "measuring_text pair_exports report_document report_measured "
    "stage e_step cluster_step m_step evaluate gate focus curation exports report transcripts assignment data_checks",
    5: "loop",
    6: "inquiry rates probe build on_ray execution driver jobs preflight sampler_checks invariants rescore upkeep backups "
    "resident queue housekeeping lines measuring benchmarks",
    7: "cli __main__",
}
RANK = {name: rank for rank, names in LAYERS.items() for name in names.split()}
ENGINE = sorted((PROJECT / "lpd_core").rglob("*.py"))
HEAVY = {
    "torch",
    "transformers",
    "trl",
    "bertopic",
    "duckdb",
    "sentence_transformers",
    "umap",
    "sklearn",
    "datasets",
}


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top_level_imports(tree):
    guarded = [n for n in tree.body if not (isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test))]
    for node in guarded:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(ast.Module([node], []))


def module_of(path):
    return path.relative_to(PROJECT / "lpd_core").with_suffix("").parts[0]


@pytest.mark.parametrize("path", ENGINE, ids=lambda p: str(p.relative_to(PROJECT)))
def test_a_module_imports_only_from_lower_layers(path):
    name = module_of(path)
    if name == "__init__":
        return
    tree = ast.parse(path.read_text())
    type_only = {
        id(inner)
        for node in tree.body
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom) or id(node) in type_only:
            continue
        for target in imports(ast.Module([node], [])):
            parts = target.split(".")
            if parts[0] != "lpd_core" or len(parts) < 2 or parts[1] not in RANK:
                continue
            assert RANK[parts[1]] <= RANK[name], (
                f"{path.name}:{node.lineno} imports {target} from a higher layer"
            )


def test_every_module_has_its_layer():
    assert sorted({module_of(path) for path in ENGINE} - {"__init__"} - set(RANK)) == []


def test_the_engine_never_imports_streamlit():
    for path in ENGINE:
        assert not any(name.split(".")[0] == "streamlit" for name in imports(ast.parse(path.read_text()))), (
            path
        )


def test_importing_the_engine_loads_no_heavy_library():
    import subprocess
    import sys

    light = [
        "config",
        "settings",
        "inquiry",
        "events",
        "types",
        "constitution",
        "metrics",
        "store",
        "jobs",
        "loop",
        "cli.app",
        "preflight",
        "resident",
        "queue",
        "housekeeping",
        "progress",
        "logs",
    ]
    code = (
        f"import sys\nfor m in {light!r}: __import__('lpd_core.' + m)\n"
        f"print(sorted(set({sorted(HEAVY)!r}) & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "[]"


def functions():
    for path in ENGINE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node, node.end_lineno - node.lineno + 1


def test_functions_are_short():
    lengths = [length for _, _, length in functions()]
    assert statistics.quantiles(lengths, n=10)[-1] <= 40
    assert [f"{path.name}:{node.name}" for path, node, length in functions() if length > 80] == []


def test_files_are_short_and_the_loop_shortest_to_read():
    long = [str(path.relative_to(PROJECT)) for path in ENGINE if len(path.read_text().splitlines()) > 400]
    assert long == []
    assert len((PROJECT / "lpd_core" / "loop.py").read_text().splitlines()) <= 120


def test_public_functions_and_classes_say_what_they_do():
    silent = []
    for path in ENGINE:
        for node in ast.parse(path.read_text()).body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                silent.append(f"{path.name}:{node.name}")
    # pydantic argument models are described by their fields
    assert [name for name in silent if not name.startswith("arguments.py")] == []


def test_only_the_store_opens_duckdb():
    for path in ENGINE:
        if "store" not in path.parts:
            assert not any(name.split(".")[0] == "duckdb" for name in imports(ast.parse(path.read_text()))), (
                path
            )


def test_the_readme_lists_every_module():
    readme = (PROJECT / "README.md").read_text()
    names = {path.name if path.is_file() else f"{path.name}/" for path in (PROJECT / "lpd_core").iterdir()}
    missing = sorted(n for n in names if not n.startswith("__") and n not in readme)
    assert missing == []


def test_the_readmes_commands_exist():
    makefile = (PROJECT / "Makefile").read_text()
    for target in set(re.findall(r"`make ([a-z-]+)`", (PROJECT / "README.md").read_text())):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_benchmark_has_its_place_in_the_document():
    from bench.__main__ import DOCUMENT, LONG, NAMES
    from tests.faults.document import section

    assert set(LONG) <= set(NAMES)
    assert all(section(name, DOCUMENT) for name in NAMES)
    programs = {
        f"bench.{path.stem}" for path in (PROJECT / "bench").glob("*.py") if "\ndef main(" in path.read_text()
    }
    assert programs - {"bench.big_store", "bench.__main__"} == {line.split()[0] for line in NAMES.values()}
