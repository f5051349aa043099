"""Two who want the same at once: drivers of one run, creators of runs of one name, servers on one home."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import tomli_w
from conftest import PROJECT, run_inline, small_settings

from lpd_core.config import parse_config
from lpd_core.jobs import create_run, stop
from lpd_core.store import Store
from tests.e2e.server import Server
from tests.faults.kills import call, compare, run_folder, snapshot, wait_until_settled


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A configuration file and the rows of an undisturbed run."""
    place = tmp_path_factory.mktemp("whole")
    settings = {**small_settings(place), "iterations": 1}
    run_inline(Store(place / "home"), settings)
    (place / "run.toml").write_text(tomli_w.dumps(settings))
    return str(place / "run.toml"), snapshot(place / "home")


def begin(home, *arguments):
    """A command that was started and is not waited for."""
    return subprocess.Popen(
        [sys.executable, "-m", "lpd_core", *arguments, "--json"],
        cwd=PROJECT,
        env={**os.environ, "LPD_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_second_driver_is_refused_and_the_first_goes_on(whole, tmp_path):
    config, rows = whole
    assert call(tmp_path, "run", "--config", config, "--detach").returncode == 0
    folder = run_folder(tmp_path)
    give_up = time.monotonic() + 60
    while not folder.is_driven():
        assert time.monotonic() < give_up
        time.sleep(0.05)
    for command in ("drive", "resume"):
        told = call(tmp_path, command, folder.run_id)
        assert told.returncode == 2
        assert f"run {folder.run_id} is " in told.stderr and "Traceback" not in told.stderr
    assert wait_until_settled(tmp_path, folder) == "finished"
    assert compare(rows, snapshot(tmp_path)) == []


def test_two_servers_on_one_home_create_runs_of_one_name_and_lose_none(whole, tmp_path):
    config, _ = whole
    home = tmp_path / "home"
    servers = [Server(home), Server(home)]
    try:
        for server in servers:
            server.start()
        creating = [begin(home, "create", "--config", config) for _ in range(4)]
        told = [process.communicate(timeout=120) for process in creating]
        assert [process.returncode for process in creating] == [0] * 4, told
        made = sorted(json.loads(out)["run_id"] for out, _ in told)
        assert made == sorted(Store(home).run_ids()) and len(set(made)) == 4
        assert {row["run_id"] for row in Store(home).database.query("select run_id from runs")} == set(made)
        assert not list((home / "runs").glob(".*")), "nothing half made"
    finally:
        for server in servers:
            server.stop()
    assert all("Traceback" not in server.log() for server in servers)


LATE = """
import fcntl, os, sys, time
with open(sys.argv[1], "a+") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    print("held", flush=True)
    time.sleep(0.5)
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    time.sleep(60)
"""


def test_a_stop_waits_for_the_pid_of_a_driver_that_just_took_the_lock_and_ends_nobody_else(
    tmp_path, scripted_settings
):
    store = Store(tmp_path / "home")
    folder = create_run(store, parse_config(scripted_settings))
    bystander = subprocess.Popen(["sleep", "60"])
    (folder.root / "driver.lock").write_text(str(bystander.pid))  # as a killed driver leaves it
    driver = subprocess.Popen(
        [sys.executable, "-c", LATE, folder.root / "driver.lock"], stdout=subprocess.PIPE
    )
    try:
        assert driver.stdout.readline() == b"held\n"
        stop(store, folder.run_id)
        assert driver.wait(10) == -signal.SIGTERM
        assert bystander.poll() is None
    finally:
        for process in (bystander, driver):
            process.kill()
            process.wait()
