"""A stage that gets no more memory, or is killed for want of it: the run says so, and a resume ends with the same rows."""

from __future__ import annotations

import resource
import time
from contextlib import suppress

import psutil
import tomli_w
from conftest import run_inline

from lpd_core.logs import remedy
from lpd_core.store import Store
from tests.faults.kills import call, compare, resume, run_folder, snapshot, wait_until_settled


def at_work(stage, folder) -> bool:
    """Past its imports: before that an interpreter without memory says anything, or never ends."""
    with suppress(psutil.Error):
        return str((folder.root / "stages.lock").resolve()) in (file.path for file in stage.open_files())
    return False


def disturb_stages(folder, disturb) -> None:
    """Do something to each stage at work until the run has settled: one may be through before it feels it."""
    give_up = time.monotonic() + 120
    while folder.state().status in ("queued", "running"):
        assert time.monotonic() < give_up, folder.state()
        with suppress(psutil.NoSuchProcess):
            driver = folder.driver_pid()
            for child in psutil.Process(driver).children() if driver else []:
                if at_work(child, folder):
                    disturb(child)
        time.sleep(0.01)


def starve(stage) -> None:
    """It gets no memory beyond what it has."""
    if stage.rlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        stage.rlimit(resource.RLIMIT_AS, (stage.memory_info().vms, resource.RLIM_INFINITY))


def test_a_stage_without_memory_names_it_and_a_resume_ends_with_the_same_rows(tmp_path, scripted_settings):
    settings = {**scripted_settings, "iterations": 1}
    run_inline(Store(tmp_path / "whole"), settings)
    config = tmp_path / "run.toml"
    config.write_text(tomli_w.dumps(settings))
    home = tmp_path / "home"
    assert call(home, "run", "--config", str(config), "--detach").returncode == 0
    folder = run_folder(home)

    disturb_stages(folder, starve)
    assert wait_until_settled(home, folder) in ("failed", "interrupted")
    state = folder.state()
    log = folder.logs / f"{state.iteration:03d}-{state.stage}.log"
    assert "memory" in remedy(state.error, tuple(log.read_text().splitlines()))
    resume(home)

    disturb_stages(folder, psutil.Process.kill)
    assert wait_until_settled(home, folder) == "interrupted"
    assert "was ended by SIGKILL; the machine may have run out of memory; see " in folder.state().error
    assert "memory" in remedy(folder.state().error)
    resume(home)
    assert wait_until_settled(home, folder) == "finished"
    assert compare(snapshot(tmp_path / "whole"), snapshot(home)) == []
