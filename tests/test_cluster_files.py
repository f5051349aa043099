"""Work on other machines: stages behind a launcher, and the jobs that `cluster-files` writes."""

from lpd_core import jobs
from lpd_core.config import parse_config
from lpd_core.execution import execution_of
from lpd_core.store import results


def test_the_workers_of_a_stage_are_started_through_the_launcher(store, scripted_settings, tmp_path):
    script = tmp_path / "srun.sh"
    script.write_text(f'echo "$@" >> {tmp_path}/started\nexec "$@"\n')
    scripted_settings["sampler"] = {"kind": "scripted", "workers": 2, "launcher": f"bash {script}"}
    folder = jobs.create_run(store, parse_config(scripted_settings))
    execution_of(store, folder)("e_step", 1)
    started = sorted((tmp_path / "started").read_text().splitlines())
    assert [line.split("--shard ")[1] for line in started] == ["0/2 --driver 0", "1/2 --driver 0"]
    assert sum(results.statuses(store, folder.run_id, 1).values()) == 64
