"""Work on other machines: stages behind a launcher, and the jobs that `cluster-files` writes."""

import re
import subprocess
import sys

import pytest
import yaml

from lpd_core import jobs
from lpd_core.cluster_files import Cluster, write_cluster_files
from lpd_core.config import load_config, parse_config
from lpd_core.errors import ConfigError
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


CLUSTER = Cluster(nodes=3, gpus=8, hours=5, home="/shared/our lpd")


def written(kind: str, folder, *assignments: str):
    """The job's files by name, and the configuration among them as it is read back."""
    config = load_config("paper-llama", assignments=[*assignments, "m_step.batch_size=96"])
    paths = {path.name: path for path in write_cluster_files(kind, config, CLUSTER, folder)}
    assert not re.search(r"\{\{", "".join(path.read_text() for path in paths.values()))
    return paths, load_config(file=paths["run.toml"])


def test_slurm_jobs_are_shell_that_parses_and_spread_both_steps_over_all_gpus(tmp_path):
    paths, config = written("slurm", tmp_path, "sampler.tensor_parallel=2")
    for name in ("slurm-run.sbatch", "slurm-servers.sbatch"):
        checked = subprocess.run(["bash", "-n", str(paths[name])], capture_output=True, text=True)
        assert (checked.returncode, checked.stderr) == (0, "")
    job = paths["slurm-run.sbatch"].read_text()
    assert "#SBATCH --nodes=3\n" in job and "#SBATCH --requeue\n" in job
    assert "export LPD_HOME='/shared/our lpd'" in job
    assert "#SBATCH --array=0-11\n" in paths["slurm-servers.sbatch"].read_text()
    assert config.sampler.workers == 12 and config.sampler.launcher.endswith("--gpus=2")
    assert (config.m_step.processes, config.m_step.machines) == (24, 3)
    assert config.m_step.launcher.startswith("srun --ntasks=3 ")
    assert config.m_step.accelerate_config == "fsdp2"


def test_a_slurm_job_creates_its_run_once_and_goes_on_with_it_when_it_is_started_again(tmp_path):
    paths, _ = written("slurm", tmp_path / "jobs")
    job = paths["slurm-run.sbatch"]
    told = tmp_path / "told"
    fake = tmp_path / "python"
    fake.write_text(
        f'#!/bin/bash\n[ "$1" = -c ] && exec {sys.executable} "$@"\necho "$3 $4" >> {told}\n'
        'if [ "$3" = create ]; then echo \'{"run_id": "mine-1"}\'; fi\n'
    )
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(
        "#!/bin/bash\necho node-1\nsleep 0.2  # who reads one line only is gone by now\necho node-2\n"
    )
    for program in (fake, scontrol):
        program.chmod(0o755)
    text = (
        job.read_text()
        .replace(sys.executable, str(fake))
        .replace("'/shared/our lpd'", str(tmp_path / "home"))
    )
    job.write_text(text)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "SLURM_JOB_ID": "77",
        "SLURM_JOB_NODELIST": "node-[1-2]",
    }
    for arguments in ([], [], ["other-4"]):
        subprocess.run(["bash", str(job), *arguments], env=environment, check=True)
    assert told.read_text().splitlines() == [
        "check --config",
        "create --config",
        "resume mine-1",
        "resume mine-1",
        "resume other-4",
    ]


def test_skypilot_and_ray_jobs_are_yaml_whose_configuration_spreads_the_e_step_by_ray(tmp_path):
    paths, config = written("skypilot", tmp_path / "sky")
    job = yaml.safe_load(paths["skypilot.yaml"].read_text())
    assert job["num_nodes"] == 3 and job["resources"]["accelerators"] == "H100:8"
    checked = subprocess.run(["bash", "-n"], input=job["run"] + job["setup"], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert job["file_mounts"] == {"~/run.toml": str(tmp_path / "sky" / "run.toml")}
    assert "--config ~/run.toml" in job["run"] and "LPD_HOME='/shared/our lpd'" in job["run"]
    assert (config.e_step.engine, config.ray.max_replicas, config.ray.gpus) == ("ray", 24, 1)
    assert (config.m_step.processes, config.m_step.machines) == (8, 1)
    paths, _ = written("ray", tmp_path / "ray")
    job = yaml.safe_load(paths["ray-job.yaml"].read_text())
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert job["kind"] == "RayJob" and group["replicas"] == 2
    (container,) = group["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "LPD_HOME", "value": "/shared/our lpd"}]


def test_a_home_that_the_nodes_do_not_share_is_refused(tmp_path):
    for kind in ("skypilot", "ray"):
        with pytest.raises(ConfigError, match="'/home/me' is not on the volume"):
            write_cluster_files(kind, load_config("paper-llama"), Cluster(home="/home/me"), tmp_path)


def test_an_engine_that_does_not_fit_the_nodes_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="tensor_parallel = 3 does not divide the 8 GPUs"):
        written("slurm", tmp_path, "sampler.tensor_parallel=3")
