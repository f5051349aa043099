"""Segments read where they lie: the same rows as the database's, on a shared path and through fsspec."""

import shutil

import fsspec
import pytest

from lpd_core import jobs
from lpd_core.config import parse_config
from lpd_core.errors import UserError
from lpd_core.execution import execution_of
from lpd_core.store.console import read_only_query
from lpd_core.store.in_place import publish_segments, reading

COUNTS = "select status, count(*) as n, sum(score) as score from candidates group by all order by all"


@pytest.fixture
def mined(store, scripted_settings):
    folder = jobs.create_run(store, parse_config(scripted_settings))
    execution_of(store, folder, inline=True)("e_step", 1)
    return folder


def test_a_home_is_queried_without_its_database(store, mined):
    expected = store.database.query(COUNTS)
    store.database.path.unlink()
    assert read_only_query(store, COUNTS, at=str(store.home)) == expected and expected


def test_a_copy_is_laid_out_by_run_and_iteration_and_reads_no_other_rows(store, mined, tmp_path):
    lake = tmp_path / "it's a lake"
    copied = publish_segments(mined, str(lake))
    assert copied == len(list(mined.segments.glob("*/*.parquet")))
    assert publish_segments(mined, str(lake)) == 0
    assert (
        lake / f"run_id={mined.run_id}" / "iteration=1" / "candidates" / "001-e_step-00000.parquet"
    ).exists()
    assert read_only_query(store, COUNTS, at=str(lake)) == store.database.query(COUNTS)
    shutil.copytree(lake / f"run_id={mined.run_id}", lake / "run_id=other")
    one = f"select count(*), any_value(response) from candidates where run_id = '{mined.run_id}'"
    with reading(str(lake)) as connection:
        assert connection.execute("select count(*) from candidates").fetchone() == (128,)
        assert connection.execute(one).fetchone()[0] == 64
        assert "Scanning Files: 4/8" in connection.execute(f"explain {one}").fetchall()[0][1]


def test_a_query_in_place_opens_nothing_beside_the_location(store, mined, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with pytest.raises(UserError, match="disabled by configuration"):
        read_only_query(store, f"select * from read_csv('{secret}')", at=str(store.home))
    with pytest.raises(UserError, match="there are no segments at"):
        read_only_query(store, "select 1", at=str(tmp_path / "nowhere"))


def test_a_bucket_is_reached_through_fsspec(store, mined):
    location = "memory://lake/lpd"
    assert publish_segments(mined, location)
    try:
        with reading(location) as connection:
            found = connection.execute(
                "select count(*), count(distinct iteration) from candidates"
            ).fetchone()
        assert found == (64, 1)
    finally:
        fsspec.filesystem("memory").rm("/lake", recursive=True)
    with pytest.raises(UserError, match="cannot reach nowhere://x"):
        publish_segments(mined, "nowhere://x")
