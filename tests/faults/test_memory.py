"""A stage that gets no more memory, or is killed for want of it: the run says so, and a resume ends with the same rows."""

from __future__ import annotations

import resource
import signal
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


def stage_of(folder):
    """The process of the stage at work."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        with suppress(psutil.NoSuchProcess):
            driver = folder.driver_pid()
            for child in psutil.Process(driver).children() if driver else []:
                if at_work(child, folder):
                    return child
        time.sleep(0.01)
    raise AssertionError(f"no stage has come: {folder.state()}")


def test_a_stage_without_memory_names_it_and_a_resume_ends_with_the_same_rows(tmp_path, scripted_settings):
    settings = {**scripted_settings, "iterations": 1}
    run_inline(Store(tmp_path / "whole"), settings)
    config = tmp_path / "run.toml"
    config.write_text(tomli_w.dumps(settings))
    home = tmp_path / "home"
    assert call(home, "run", "--config", str(config), "--detach").returncode == 0
    folder = run_folder(home)

    stage = stage_of(folder)
    stage.rlimit(resource.RLIMIT_AS, (stage.memory_info().vms, resource.RLIM_INFINITY))
    assert wait_until_settled(home, folder) in ("failed", "interrupted")
    state = folder.state()
    log = folder.logs / f"{state.iteration:03d}-{state.stage}.log"
    assert "memory" in remedy(state.error, tuple(log.read_text().splitlines()))
    resume(home)

    stage_of(folder).send_signal(signal.SIGKILL)
    assert wait_until_settled(home, folder) == "interrupted"
    assert "was ended by SIGKILL; the machine may have run out of memory; see " in folder.state().error
    assert "memory" in remedy(folder.state().error)
    resume(home)
    assert wait_until_settled(home, folder) == "finished"
    assert compare(snapshot(tmp_path / "whole"), snapshot(home)) == []
