"""Training in two processes on the CPU, through `accelerate launch`: the same steps, loss and rows as in one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import tiny_model
from training_jobs import SMALL, fit, job_in, tiny_config, training_rows, weights_of

from lpd_core.config import MStepConfig
from lpd_core.errors import ConfigError, StageFailed
from lpd_core.events import Measured, Progress, StageStarted
from lpd_core.launch import planned_launch
from lpd_core.model_files import last_whole_checkpoint

TESTS = Path(__file__).parent
LONG = {"epochs": 8, "save_steps": 2}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def alone(base, tmp_path_factory):
    return fit(job_in(tmp_path_factory.mktemp("alone"), base, training_rows(10)), **LONG)


def losses_of(events) -> dict[int, float]:
    return {e.step: e.value for e in events if isinstance(e, Measured) and e.name == "loss"}


def test_two_processes_train_on_the_same_steps_as_one_and_leave_a_checkpoint_that_loads(
    base, alone, tmp_path
):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    one, events_of_one = alone
    two, events = fit(job_in(tmp_path, base, training_rows(10)), processes=2, **LONG)
    assert (two.steps, two.tokens, two.trained_tokens) == (one.steps, one.tokens, one.trained_tokens)
    assert len([e for e in events if isinstance(e, Measured) and e.name == "loss"]) == one.steps == 16
    assert losses_of(events) == pytest.approx(losses_of(events_of_one), rel=1e-4)
    before, apart = weights_of(Path(one.model_out)), weights_of(Path(two.model_out))
    assert max((before[name] - apart[name]).abs().max().item() for name in before) < 1e-4
    tokenizer = AutoTokenizer.from_pretrained(two.model_out)
    model = AutoModelForCausalLM.from_pretrained(two.model_out)
    assert model.generate(**tokenizer("Name it.", return_tensors="pt"), max_new_tokens=3).shape[1] > 3


def test_fsdp_on_two_processes_trains_as_one_does_and_goes_on_where_it_was_killed(base, alone, tmp_path):
    from transformers import AutoModelForCausalLM

    one, events_of_one = alone
    spread = {"processes": 2, "accelerate_config": "fsdp2_cpu"}
    with pytest.raises(StageFailed, match="stopped by the test"):
        fit(job_in(tmp_path, base, training_rows(10)), stop_at=5, **spread, **LONG)
    # When they are told to end the processes are a few steps further, maybe inside the next checkpoint.
    checkpoint = last_whole_checkpoint(tmp_path / "work")
    assert (checkpoint / "model.safetensors").stat().st_size
    done = int(checkpoint.name.removeprefix("checkpoint-"))
    assert 4 <= done < one.steps
    two, events = fit(job_in(tmp_path, base, training_rows(10)), **spread, **LONG)
    assert next(e for e in events if isinstance(e, StageStarted)).done == done
    assert (two.steps, two.tokens, two.trained_tokens) == (one.steps, one.tokens, one.trained_tokens)
    assert losses_of(events) == pytest.approx(
        {step: loss for step, loss in losses_of(events_of_one).items() if step > done}, rel=1e-3
    )
    before, apart = weights_of(Path(one.model_out)), weights_of(Path(two.model_out))
    assert max((before[name] - apart[name]).abs().max().item() for name in before) < 1e-3
    AutoModelForCausalLM.from_pretrained(two.model_out)


def on_two_machines(folder: Path) -> str:
    """A launcher that starts what follows it on two machines, both of them this one."""
    script = folder / "srun.sh"
    script.write_text(
        'trap "kill 0" TERM\nfor n in 0 1; do SLURM_NODEID=$n "$@" & done\nwait -n && wait -n\n'
    )
    return f"bash {script}"


def test_two_machines_train_together_through_a_launcher(base, alone, tmp_path, monkeypatch):
    from lpd_core.samplers.serving import free_port

    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    one, events_of_one = alone
    settings = {"processes": 2, "machines": 2, "launcher": on_two_machines(tmp_path)}
    two, events = fit(job_in(tmp_path, base, training_rows(10)), **settings, **LONG)
    assert (two.steps, two.tokens) == (one.steps, one.tokens)
    assert losses_of(events) == pytest.approx(losses_of(events_of_one), rel=1e-4)
    monkeypatch.delenv("MASTER_ADDR")
    with pytest.raises(ConfigError, match=r"meet at \$MASTER_ADDR"):
        fit(job_in(tmp_path / "lost", base, training_rows(10)), **settings)


def test_two_processes_measure_and_stop_as_one_does(base, tmp_path):
    settings = {"lora_rank": 2, "gradient_checkpointing": True, "balanced": False, "micro_batch": 2}
    settings |= {"validation_share": 0.3, "early_stopping": 2, "save_steps": 2, "epochs": 3}
    one, _ = fit(job_in(tmp_path / "one", base, training_rows(10)), **settings)
    two, events = fit(job_in(tmp_path / "two", base, training_rows(10)), processes=2, **settings)
    assert (two.steps, two.best_step, two.tokens) == (one.steps, one.best_step, one.tokens)
    assert two.validation_loss == pytest.approx(one.validation_loss, rel=1e-4)
    assert two.last_loss == pytest.approx(one.last_loss, rel=1e-4)
    assert sum(isinstance(e, Measured) and e.name == "validation_loss" for e in events) == one.steps / 2


def die_at(step: int, folder: str, base: str) -> None:
    """Train in two processes, and be killed -9 right after a step; runs in a process of its own."""
    from lpd_core.training import SupervisedTrainer

    def emit(event) -> None:
        if isinstance(event, Progress) and event.done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    job = job_in(Path(folder), Path(base), training_rows(10))
    config = MStepConfig(**SMALL, processes=2, epochs=40, save_steps=2)
    SupervisedTrainer(config, tiny_config(base), 2).train(job, emit)


def workers_of(folder: Path) -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline"])
    return [p for p in found if any(str(folder) in part for part in p.info["cmdline"] or [])]


def test_a_killed_stage_takes_its_processes_along_and_a_resume_goes_on_from_their_checkpoint(base, tmp_path):
    code = f"from test_distributed_training import die_at; die_at(5, {str(tmp_path)!r}, {str(base)!r})"
    ended = subprocess.run([sys.executable, "-c", code], cwd=TESTS, env={**os.environ, "PYTHONPATH": ".."})
    assert ended.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while workers_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert workers_of(tmp_path) == []
    result, events = fit(job_in(tmp_path, base, training_rows(10)), processes=2, epochs=40, save_steps=2)
    started = next(e for e in events if isinstance(e, StageStarted))
    assert started.done >= 4 and started.done % 2 == 0 and result.steps == 80


def test_processes_that_accelerate_silently_does_not_start_are_missed_in_one_line(base, tmp_path):
    file = tmp_path / "cpu.yaml"
    file.write_text("distributed_type: MULTI_CPU\nuse_cpu: true\nnum_machines: 1\nmixed_precision: 'no'\n")
    with pytest.raises(
        ConfigError, match="asks for MULTI_CPU on 2 processes, but accelerate runs NO on 1"
    ) as told:
        fit(job_in(tmp_path, base, training_rows(3)), processes=2, accelerate_config=str(file))
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()


def test_settings_that_cannot_be_launched_are_refused_before_anything_starts(tmp_path):
    with pytest.raises(ConfigError, match=r"is no file; .*multi_cpu"):
        planned_launch(MStepConfig(processes=2, accelerate_config="multi-cpu"), "cpu")
    with pytest.raises(ConfigError, match="'fsdp2' runs on GPUs, the model on cpu; take multi_cpu"):
        planned_launch(MStepConfig(processes=2, accelerate_config="fsdp2"), "cpu")
    with pytest.raises(ConfigError, match="lora_rank cannot be merged where FSDP spreads"):
        planned_launch(MStepConfig(processes=2, accelerate_config="fsdp2", lora_rank=4), "cuda")
    spread = tmp_path / "zero.yaml"
    spread.write_text("distributed_type: DEEPSPEED\nuse_cpu: true\n")
    with pytest.raises(ConfigError, match="asks for DEEPSPEED on the CPU, where it runs none"):
        planned_launch(MStepConfig(processes=2, accelerate_config=str(spread)), "cpu")
    bare = tmp_path / "bare.yaml"
    bare.write_text("num_processes: 2\n")
    with pytest.raises(ConfigError, match="has no distributed_type"):
        planned_launch(MStepConfig(accelerate_config=str(bare)), "cpu")
    assert planned_launch(MStepConfig(), "cuda") is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("multi_gpu", "MULTI_GPU"),
        ("fsdp2", "FSDP"),
        ("fsdp2_cpu", "FSDP"),
        ("deepspeed_zero2", "DEEPSPEED"),
        ("deepspeed_zero3", "DEEPSPEED"),
    ],
)
def test_every_shipped_configuration_is_one_that_accelerate_reads(name, kind):
    from accelerate.commands.config.config_args import load_config_from_file

    device = "cpu" if name.endswith("_cpu") else "cuda"
    launch = planned_launch(MStepConfig(processes=2, accelerate_config=name), device)
    assert launch.kind == kind
    assert load_config_from_file(str(launch.file)).distributed_type == kind


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    micro_batch=st.integers(1, 9),
    processes=st.integers(1, 5),
)
def test_every_row_of_a_batch_is_dealt_to_one_process_once(sizes, micro_batch, processes):
    from math import ceil

    from lpd_core.weighted_sft import Dealt, micro_size

    plan = [list(range(10 * n, 10 * n + size)) for n, size in enumerate(sizes)]
    micro = micro_size(9, micro_batch, processes)
    passes = ceil(9 / (micro * processes))
    dealt = [list(Dealt(plan, micro, passes, -1, processes, rank)) for rank in range(processes)]
    assert all(len(mine) == passes * len(plan) for mine in dealt)
    for step, batch in enumerate(plan):
        own = [mine[step * passes : (step + 1) * passes] for mine in dealt]
        rows = [row for mine in own for pass_ in mine for row in pass_]
        assert sorted(row for row in rows if row >= 0) == batch
        assert all(len(pass_) <= micro for mine in own for pass_ in mine)


@pytest.mark.parametrize(
    ("switch", "said"),
    [
        ({"report_to": "wandb"}, "m_step.report_to needs the package wandb; install it"),
        ({"accelerate_config": "deepspeed_zero2"}, "'deepspeed_zero2' runs on GPUs, the model on cpu"),
        ({"processes": 2, "accelerate_config": "nowhere.yaml"}, "'nowhere.yaml' is no file"),
    ],
)
def test_preflight_tells_what_the_m_step_would_stumble_over(base, store, scripted_settings, switch, said):
    from lpd_core.config import parse_config
    from lpd_core.preflight import check_run

    model = {"path": str(base), "device": "cpu", "max_length": 512}
    tree = {**scripted_settings, "sampler": {}, "model": model, "m_step": switch}
    assert any(said in error.what for error in check_run(store, parse_config(tree)).errors)


def test_a_run_trains_in_two_processes_and_measures_what_they_left(home, tmp_path):
    from test_real_model import SHORT, query, run, settings

    tree = settings(["data/demo/train.jsonl"], 30)
    tree["e_step"] |= {role: {**SHORT, "max_tokens": 96} for role in ("draft", "refine")}
    tree["m_step"] |= {"processes": 2}
    report = run(home, tmp_path, tree)
    assert "1" in report["heldout"]["dev"]
    losses = query(home, "select step, value from metrics where name = 'loss' order by step")
    assert [row["step"] for row in losses] == list(range(1, len(losses) + 1)) and losses
