"""The store: one file under a lock, segments that ingest once, runs that cannot be driven twice."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from threading import Thread

import pytest

from lpd_core import execution, jobs
from lpd_core.config import PROJECT, RunConfig, parse_config
from lpd_core.driver import drive
from lpd_core.errors import DataError, Interrupted, UserError
from lpd_core.events import Progress, StatusChanged
from lpd_core.execution import pause_after
from lpd_core.store import Database, RunFolder, RunState, Store, corpora
from lpd_core.store import database as database_module
from lpd_core.store import runs as run_table
from lpd_core.store.console import read_only_query


def make_run(store, run_id="small-1"):
    folder = RunFolder(store.runs / run_id)
    folder.create(RunConfig(name="small"), {"seed": 1})
    run_table.add_run(store, folder.run_id, RunConfig(name="small"), {"seed": 1})
    return folder


def draft(prompt_id, **more):
    row = {"run_id": "small-1", "iteration": 1, "prompt_id": prompt_id, "text": "y1", "score": 0.5}
    return {**row, "finish_reason": "stop", "tokens": 3, **more}


def test_commits_keep_to_a_tenth_of_the_time_and_come_at_least_every_ten_seconds():
    assert pause_after(0.02) == 1.0
    assert pause_after(0.5) == pytest.approx(5.0)
    assert pause_after(100.0) == 10.0


def test_the_driver_waits_between_commits_as_long_as_the_last_one_asks_for(
    store, scripted_settings, monkeypatch
):
    """The first commit of a stage seems to have cost a second, so there is no time for another."""
    folder = jobs.create_run(store, parse_config({**scripted_settings, "iterations": 1, "review": True}))
    beside: list[str] = []
    monkeypatch.setattr(execution, "INGEST_SECONDS", 0.0)
    monkeypatch.setattr(execution, "pause_after", lambda seconds: beside.append(folder.state().stage) or 1e9)
    drive(store, folder.run_id)
    assert beside and len(beside) == len(set(beside))


def test_a_segment_is_ingested_once_however_often_it_is_tried(store):
    folder = make_run(store)
    folder.write_segment(1, "e_step", 0, {"drafts": [draft("a"), draft("b")], "candidates": []})
    assert run_table.ingest(store, folder) == 1
    assert run_table.ingest(store, folder) == 0
    assert store.database.query("select count(*) n from drafts")[0]["n"] == 2


def test_a_crash_between_insert_and_bookkeeping_doubles_nothing(store):
    folder = make_run(store)
    folder.write_segment(1, "e_step", 0, {"drafts": [draft("a")]})
    run_table.ingest(store, folder)
    store.database.execute("delete from segments")
    run_table.ingest(store, folder)
    assert store.database.query("select count(*) n from drafts")[0]["n"] == 1


def test_an_unfinished_segment_is_not_seen(store):
    folder = make_run(store)
    torn = folder.segments / ".001-e_step-00000.77"
    torn.mkdir()
    (torn / "drafts.parquet").write_bytes(b"half")
    assert folder.segment_names() == []
    assert run_table.ingest(store, folder) == 0


def test_a_failed_transaction_leaves_nothing(store):
    with pytest.raises(ZeroDivisionError), store.database.write() as connection:
        connection.execute("insert into constitution_aliases values ('r', 'best', 1, 1, now())")
        raise ZeroDivisionError
    assert store.database.query("select count(*) n from constitution_aliases")[0]["n"] == 0


def hammer(path, worker, count):
    database = Database(path)
    for n in range(count):
        database.execute(
            "insert into metrics values ('r', 1, ?, ?, 'loss', 0.5, now())", [f"stage{worker}", n]
        )


def test_two_writers_and_a_reader_lose_nothing_and_meet_no_lock_error(store):
    store.database.query("select 1")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=hammer, args=(store.database.path, n, 10)) for n in range(2)]
    for process in writers:
        process.start()
    while any(process.is_alive() for process in writers):
        store.database.query("select count(*) n from metrics")
    for process in writers:
        process.join()
    assert [process.exitcode for process in writers] == [0, 0]
    assert store.database.query("select count(*) n from metrics")[0]["n"] == 20


HOLD = """
import fcntl, sys, time
lock = open(sys.argv[1], "a+"); fcntl.flock(lock, fcntl.LOCK_EX); print("held", flush=True); time.sleep(60)
"""


def test_a_slow_reader_does_not_hold_up_others_through_a_writer_who_waits(store, monkeypatch):
    monkeypatch.setattr(database_module, "TURN_SECONDS", 0.2)
    store.database.query("select 1")
    path = store.database.path
    patient = Thread(target=lambda: Database(path, lock_seconds=60).execute("delete from runs"))
    with store.database.read():
        patient.start()
        for _ in range(5):
            assert Database(path, lock_seconds=5).query("select 1 one") == [{"one": 1}]
        assert patient.is_alive()
    patient.join()


def test_a_busy_database_is_told_and_a_killed_holder_frees_it(store):
    store.database.query("select 1")
    lock = str(store.database.path) + ".lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, lock], stdout=subprocess.PIPE)
    holder.stdout.readline()
    impatient = Database(store.database.path, lock_seconds=0.2)
    with pytest.raises(Interrupted, match="busy"):
        impatient.query("select 1")
    holder.kill()
    holder.wait()
    assert impatient.query("select 1 one") == [{"one": 1}]


READ_ON = """
import sys
from lpd_core.store.database import Database
database = Database(sys.argv[1])
while True:
    with database.read():
        print("read", flush=True)
        sum(range(200_000))
"""


def test_readers_without_a_pause_keep_no_writer_out_and_the_lock_file_does_not_grow(store):
    store.database.query("select 1")
    path = store.database.path
    readers = [
        subprocess.Popen([sys.executable, "-c", READ_ON, path], stdout=subprocess.PIPE, cwd=PROJECT)
        for _ in range(4)
    ]
    try:
        for reader in readers:
            reader.stdout.readline()
            Thread(target=reader.stdout.read, daemon=True).start()
        hammer(path, 0, 20)
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
    assert store.database.query("select count(*) n from metrics")[0]["n"] == 20
    assert path.with_name(path.name + ".lock").stat().st_size < 20


def test_a_dead_driver_is_seen_as_interrupted_even_as_a_zombie(store):
    folder = make_run(store)
    code = (
        "import sys, time\nfrom lpd_core.store import RunFolder, RunState\n"
        "f = RunFolder(sys.argv[1])\n"
        "with f.driving():\n    f.write_state(RunState('running', 1, 'e_step'))\n"
        "    print('up', flush=True)\n    time.sleep(60)"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(folder.root)], stdout=subprocess.PIPE, cwd=PROJECT
    )
    driver.stdout.readline()
    assert folder.state().status == "running"
    with pytest.raises(UserError, match="already being driven"), folder.driving():
        pass
    os.kill(driver.pid, signal.SIGKILL)
    os.waitid(os.P_PID, driver.pid, os.WEXITED | os.WNOWAIT)  # dead, and still a zombie
    assert folder.state().status == "interrupted"
    driver.wait()


def test_a_driver_that_ends_while_it_is_looked_at_has_not_died(store, monkeypatch):
    folder = make_run(store)
    folder.write_state(RunState("running", 1, "e_step"))

    def ends(self):
        self.write_state(RunState("finished", 1, "evaluate"))
        return False

    monkeypatch.setattr(RunFolder, "is_driven", ends)
    assert folder.state().status == "finished"


def test_a_torn_event_line_is_passed_over(store):
    folder = make_run(store)
    folder.emit(StatusChanged("running"))
    with open(folder.root / "events.jsonl", "ab") as file:
        file.write(b'{"at": 1, "kind": "Prog')
    found, offset = folder.events()
    assert [event for _, event in found] == [StatusChanged("running")]
    with open(folder.root / "events.jsonl", "ab") as file:
        file.write(b"\n")
    folder.emit(Progress(1, "e_step", 1, 2))
    more, _ = folder.events(offset)
    assert [event for _, event in more] == [Progress(1, "e_step", 1, 2)]


def test_two_who_look_do_not_take_each_other_for_a_driver(store):
    folder = make_run(store)
    seen = []
    lookers = [Thread(target=lambda: seen.extend(folder.is_driven() for _ in range(300))) for _ in range(4)]
    for looker in lookers:
        looker.start()
    for _ in range(50):
        with folder.driving():
            assert folder.is_driven()
    for looker in lookers:
        looker.join()
    assert len(seen) == 1200
    assert folder.is_driven() is False


def test_a_long_query_is_ended_before_it_holds_up_a_writer(store, monkeypatch):
    make_run(store)
    monkeypatch.setattr("lpd_core.store.console.SECONDS", 0.5)
    with pytest.raises(UserError, match="took longer"):
        read_only_query(
            store, "select count(*) from range(1000000000) a, range(1000000) b where a.range + b.range = -1"
        )


def test_a_query_that_does_not_heed_the_watchdog_is_killed_and_its_lock_is_free(store, monkeypatch):
    make_run(store)
    monkeypatch.setattr("lpd_core.store.console.SECONDS", 0.5)
    with pytest.raises(UserError, match="took longer"):
        read_only_query(store, "select levenshtein(repeat('a', 1000000), repeat('b', 1000000))")
    store.database.lock_seconds = 0.1
    store.database.execute("delete from metrics")


def test_a_query_cannot_take_the_memory_of_the_machine(store):
    with pytest.raises(UserError, match=r"Out of Memory"):
        read_only_query(store, "select repeat('x', 2000000000)")


def test_a_database_that_is_no_database_is_told_with_its_mend(store):
    make_run(store)
    store.database.path.write_bytes(b"not a database" * 1000)
    with pytest.raises(UserError, match="lpd_core repair"):
        Store(store.home).database.query("select 1")


def test_an_empty_file_left_by_a_killed_creation_is_made_anew(store):
    store.home.mkdir(parents=True, exist_ok=True)
    store.database.path.write_bytes(b"")
    assert store.database.query("select count(*) n from runs") == [{"n": 0}]


def test_a_damaged_state_is_an_interruption_not_a_crash(store):
    folder = make_run(store)
    (folder.root / "state.json").write_text("{half")
    assert folder.state().status == "interrupted"
    folder.write_state(RunState("finished"))
    assert folder.state().status == "finished"


def test_an_unknown_run_names_the_known_ones(store):
    with pytest.raises(UserError, match="no runs yet"):
        store.run("small-1")
    make_run(store)
    with pytest.raises(UserError, match="did you mean 'small-1'"):
        store.run("smal-1")
    assert store.run("last").run_id == "small-1"


def test_an_unknown_data_set_says_how_to_import(store):
    with pytest.raises(DataError, match="data import"):
        corpora.find_dataset(store, "dolly")


@pytest.mark.parametrize(
    "sql",
    [
        "delete from runs",
        "select 1; select 2",
        "copy runs to '/tmp/lpd-stolen.csv'",
        "attach '/tmp/other.duckdb'",
        "install httpfs",
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "set enable_external_access = true",
        "selec 1",
        "",
    ],
)
def test_the_console_reads_the_store_and_nothing_else(store, sql):
    make_run(store)
    with pytest.raises(UserError):
        read_only_query(store, sql)
    assert read_only_query(store, "select run_id from runs") == [{"run_id": "small-1"}]


def test_the_tables_of_the_contract_have_their_columns(store):
    contract = {
        "datasets": "dataset_id name source format sha256 license n_rows created_at",
        "prompts": "dataset_id prompt_id split messages gold meta",
        "runs": "run_id name status config config_digest created_at started_at finished_at error manifest",
        "iterations": "run_id iteration stage status model_in model_in_digest model_out model_out_digest started_at "
        "finished_at summary",
        "drafts": "run_id iteration prompt_id text score finish_reason tokens",
        "candidates": "run_id iteration prompt_id sample principle critique response score gain status selected "
        "principle_id tokens",
        "principles": "principle_id text embedding embedder",
        "clusters": "run_id iteration cluster_id size medoid_principle_id label params",
        "cluster_members": "run_id iteration cluster_id principle_id count distance",
        "constitution_edits": "run_id iteration seq op args author reason at",
        "constitution_versions": "run_id iteration version message author at entries approved",
        "training_rows": "run_id iteration prompt_id sample principle messages weight",
        "metrics": "run_id iteration stage step name value at",
        "evaluations": "eval_id prompt_id system sample run_id iteration benchmark draft principle response score verdict",
    }
    for table, columns in contract.items():
        rows = store.database.query(
            "select column_name from information_schema.columns where table_name = ?", [table]
        )
        assert set(columns.split()) <= {row["column_name"] for row in rows}, table


def test_a_run_folder_is_never_overwritten(store):
    folder = make_run(store)
    with pytest.raises(UserError, match="exists already"):
        RunFolder(folder.root).create(RunConfig(name="small"), {})
    assert json.loads((folder.root / "manifest.json").read_text()) == {"seed": 1}


def test_a_home_that_cannot_be_written_is_told_in_one_line(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.raises(UserError, match="cannot create the database"):
        Store(blocked / "home").database.query("select 1")


def test_the_configuration_of_a_run_is_read_back_whole(store):
    settings = parse_config({"name": "small", "seed": 9, "e_step": {"n": 3}})
    folder = RunFolder(store.runs / "small-9")
    folder.create(settings, {})
    assert folder.config() == settings
