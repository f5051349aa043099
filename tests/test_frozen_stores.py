"""A store that an earlier version left on the disk opens, is brought to today's schema and shows its run."""

import gzip
import json

import pytest
from conftest import PROJECT

from lpd_core.config import parse_config
from lpd_core.report import run_report
from lpd_core.store import RunFolder, constitutions, corpora
from lpd_core.store import runs as run_table
from lpd_core.store.schema import MIGRATIONS
from tests.faults.kills import call

STORES = sorted((PROJECT / "tests" / "fixtures" / "stores").glob("*.duckdb.gz"))


@pytest.mark.parametrize("frozen", STORES, ids=lambda path: path.name)
def test_a_frozen_store_is_brought_to_the_schema_of_today_with_its_rows(store, frozen):
    store.home.mkdir()
    store.database.path.write_bytes(gzip.decompress(frozen.read_bytes()))
    run = run_table.list_runs(store)[0]
    assert (run["status"], run["name"]) == ("finished", "small")
    done = store.database.query("select name from schema_migrations")
    assert {row["name"] for row in done} == {step.__name__ for step in MIGRATIONS}
    assert [row["iteration"] for row in run_table.list_iterations(store, run["run_id"])] == [0, 1, 2]
    assert len(corpora.list_datasets(store)) == 3
    assert constitutions.approved_version(store, run["run_id"], 2) is not None
    RunFolder(store.runs / run["run_id"]).create(parse_config(json.loads(run["config"])), {})
    told = run_report(store, run["run_id"])
    assert told["constitutions"][2] and told["heldout"]["dev"][2]


def test_the_commands_read_a_frozen_store(home):
    home.mkdir()
    (home / "lpd.duckdb").write_bytes(gzip.decompress(STORES[0].read_bytes()))
    told = call(home, "sql", "select count(*) n from candidates", "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)[0]["n"] > 0
