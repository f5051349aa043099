"""The trainer on a real tiny model: what it minimises, how it resumes, what it leaves behind."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from models import tiny_model
from training_jobs import SMALL, fit, job_in, tiny_config, training_rows, weights_of

from lpd_core.config import MStepConfig
from lpd_core.errors import ConfigError, StageFailed, UserError
from lpd_core.events import Measured, Progress, StageStarted, Warned
from lpd_core.model_files import last_whole_checkpoint, model_digest
from lpd_core.types import TrainingResult, TrainingRow

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base"))


def segment_losses(base: Path, row: TrainingRow) -> list:
    """The mean loss of each trained turn, and its number of tokens, by the plain model on that row alone."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lpd_core.label_mask import encode_row

    encoded = encode_row(AutoTokenizer.from_pretrained(base), row)
    ids = torch.tensor([encoded.input_ids])
    with torch.no_grad():
        logs = AutoModelForCausalLM.from_pretrained(base)(ids).logits[0].log_softmax(-1)
    losses = -logs[:-1].gather(1, ids[0, 1:, None])[:, 0]
    own = [torch.tensor(encoded.segments[1:]) == number for number in (1, 2)]
    return [(losses[mask].mean().item(), int(mask.sum())) for mask in own]


def test_balanced_loss_equals_a_hand_computation(base, tmp_path):
    rows = training_rows(6)
    means = [segment_losses(base, row) for row in rows]
    by_hand = sum(r.weight * (z + y) / 2 for r, ((z, _), (y, _)) in zip(rows, means, strict=True))
    result, _ = fit(job_in(tmp_path, base, rows))
    assert result.first_loss == pytest.approx(by_hand / sum(row.weight for row in rows), rel=1e-5)


def test_token_mean_loss_equals_a_hand_computation(base, tmp_path):
    rows = training_rows(6)
    means = [segment_losses(base, row) for row in rows]
    total = sum(r.weight * (z * n + y * m) for r, ((z, n), (y, m)) in zip(rows, means, strict=True))
    tokens = sum(r.weight * (n + m) for r, ((_, n), (_, m)) in zip(rows, means, strict=True))
    result, _ = fit(job_in(tmp_path, base, rows), balanced=False)
    assert result.first_loss == pytest.approx(total / tokens, rel=1e-5)


@pytest.mark.parametrize("balanced", [True, False])
def test_the_loss_does_not_depend_on_the_micro_batch(base, tmp_path, balanced):
    outcomes = []
    for micro in (1, 2, 6):
        job = job_in(tmp_path / str(micro), base, training_rows(8))
        result, events = fit(job, micro_batch=micro, epochs=2, balanced=balanced)
        losses = [e.value for e in events if isinstance(e, Measured) and e.name == "loss"]
        outcomes.append((losses, weights_of(Path(result.model_out))))
    for losses, weights in outcomes[1:]:
        assert losses == pytest.approx(outcomes[0][0], rel=1e-5) and len(losses) == 4
        for name, tensor in weights.items():
            assert (tensor - outcomes[0][1][name]).abs().max() < 1e-5


def test_packed_rows_do_not_see_each_other(base, tmp_path):
    rows = training_rows(6)
    apart, _ = fit(job_in(tmp_path / "apart", base, rows), balanced=False)
    packed, _ = fit(job_in(tmp_path / "packed", base, rows), balanced=False, packing=True)
    assert packed.first_loss == pytest.approx(apart.first_loss, rel=1e-5)
    assert (packed.tokens, packed.trained_tokens) == (apart.tokens, apart.trained_tokens)


def test_training_lowers_the_loss_and_changes_the_weights(base, tmp_path):
    result, events = fit(job_in(tmp_path, base, training_rows(12)), epochs=6, learning_rate=3e-3)
    assert result.steps == 12 and result.last_loss < 0.8 * result.first_loss
    before, after = weights_of(base), weights_of(Path(result.model_out))
    assert before.keys() == after.keys() and any((before[name] != after[name]).any() for name in before)
    started, first, last = events[0], events[1], events[-1]
    assert started == StageStarted(2, "m_step", 12, "steps", 0)
    assert isinstance(first, Measured) and (first.step, first.name) == (1, "loss")
    assert isinstance(last, Progress) and (last.done, last.total) == (12, 12)
    names = {e.name for e in events if isinstance(e, Measured)}
    assert names == {"loss", "grad_norm", "learning_rate", "tokens", "tokens_per_second"}
    assert events[-2].name == "tokens" and events[-2].value == result.tokens


def test_the_trained_model_keeps_its_settings_and_its_template(base, tmp_path):
    result, _ = fit(job_in(tmp_path, base, training_rows(3)))
    for name in ("config.json", "generation_config.json", "chat_template.jinja", "tokenizer.json"):
        assert (Path(result.model_out) / name).read_text() == (base / name).read_text()
    assert not list((tmp_path / "work").glob("checkpoint-*"))
    assert not list(tmp_path.glob("*.partial"))


LONG = {"epochs": 4, "save_steps": 2}


def die_at(step: int, folder: str, base: str) -> None:
    """Train, and be killed -9 right after a step; runs in a process of its own."""
    from lpd_core.training import SupervisedTrainer

    def emit(event) -> None:
        if isinstance(event, Progress) and event.done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    job = job_in(Path(folder), Path(base), training_rows(10))
    SupervisedTrainer(MStepConfig(**SMALL, **LONG), tiny_config(base), 2).train(job, emit)


@pytest.fixture(scope="module")
def killed(base, tmp_path_factory) -> Path:
    """The folder of a training killed after 7 of 8 steps: checkpoints 4 and 6 are there, no model."""
    folder = tmp_path_factory.mktemp("killed")
    code = f"from test_training import die_at; die_at(7, {str(folder)!r}, {str(base)!r})"
    ended = subprocess.run([sys.executable, "-c", code], cwd=TESTS, env={**os.environ, "PYTHONPATH": ".."})
    assert ended.returncode == -signal.SIGKILL and [p.name for p in folder.iterdir()] == ["work"]
    return folder


@pytest.fixture(scope="module")
def unbroken(base, tmp_path_factory) -> TrainingResult:
    return fit(job_in(tmp_path_factory.mktemp("unbroken"), base, training_rows(10)), **LONG)[0]


@pytest.mark.parametrize("torn", [False, True])
def test_a_killed_training_resumes_to_the_same_weights(base, tmp_path, killed, unbroken, torn):
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    if torn:
        tear(tmp_path / "work" / "checkpoint-6" / "optimizer.pt")
    resumed, events = fit(job_in(tmp_path, base, training_rows(10)), **LONG)
    assert events[0] == StageStarted(2, "m_step", 8, "steps", 4 if torn else 6)
    assert model_digest(Path(resumed.model_out)) == model_digest(Path(unbroken.model_out))
    assert replace(resumed, model_out="", seconds=0.0) == replace(unbroken, model_out="", seconds=0.0)


@pytest.mark.parametrize(
    "name", ["trainer_state.json", "model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"]
)
def test_a_torn_checkpoint_is_passed_over(tmp_path, killed, name):
    shutil.copytree(killed / "work", tmp_path, dirs_exist_ok=True)
    assert last_whole_checkpoint(tmp_path) == tmp_path / "checkpoint-6"
    tear(tmp_path / "checkpoint-6" / name)
    assert last_whole_checkpoint(tmp_path) == tmp_path / "checkpoint-4"
    assert not (tmp_path / "checkpoint-6").exists()


def tear(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_other_rows_do_not_resume_from_a_left_checkpoint(base, tmp_path, killed):
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    _, events = fit(job_in(tmp_path, base, training_rows(9)), **LONG)
    assert [e.message[:7] for e in events if isinstance(e, Warned)] == ["removed"] * 2
    assert next(e for e in events if isinstance(e, StageStarted)).done == 0


def test_a_finished_job_returns_its_result_without_training(base, tmp_path):
    job = job_in(tmp_path, base, training_rows(3))
    result, _ = fit(job)
    assert fit(job) == (result, [])


def test_a_finished_job_is_known_again_when_everything_was_moved(base, tmp_path):
    result, _ = fit(job_in(tmp_path / "here", base, training_rows(3)))
    shutil.copytree(base, tmp_path / "there" / "model")
    shutil.copytree(tmp_path / "here", tmp_path / "there", dirs_exist_ok=True)
    again, events = fit(job_in(tmp_path / "there", tmp_path / "there" / "model", training_rows(3)))
    assert events == [] and again == replace(result, model_out=again.model_out)


def test_a_model_of_another_job_is_not_overwritten(base, tmp_path):
    fit(job_in(tmp_path, base, training_rows(3)))
    with pytest.raises(UserError, match="nothing is overwritten"):
        fit(job_in(tmp_path, base, training_rows(4)))
    (tmp_path / "out" / "result.json").unlink()
    with pytest.raises(UserError, match="holds no training result"):
        fit(job_in(tmp_path, base, training_rows(3)))


def test_lora_is_merged_and_resumes(base, tmp_path):
    import torch

    rows, settings = training_rows(10), {**LONG, "lora_rank": 2}
    whole, _ = fit(job_in(tmp_path / "whole", base, rows), **settings)
    before, after = weights_of(base), weights_of(Path(whole.model_out))
    assert before.keys() == after.keys()
    changes = {name: after[name] - tensor for name, tensor in before.items()}
    ranks = {name: int(torch.linalg.matrix_rank(c, atol=1e-6)) for name, c in changes.items() if c.dim() == 2}
    assert {rank for name, rank in ranks.items() if "proj" in name} == {2}
    assert ranks["model.embed_tokens.weight"] == 0
    broken = job_in(tmp_path / "broken", base, rows)
    with pytest.raises(StageFailed):
        fit(broken, stop_at=5, **settings)
    resumed, events = fit(broken, **settings)
    assert events[0].done == 4
    assert model_digest(Path(resumed.model_out)) == model_digest(Path(whole.model_out))


def test_rows_that_are_too_long_are_left_out_and_counted(base, tmp_path):
    long = training_rows(4)[3]
    messages = ({"role": "user", "content": "very long " * 100}, *long.messages[1:])
    rows = (*training_rows(3), replace(long, messages=messages))
    _, events = fit(job_in(tmp_path, base, rows), max_length=200)
    assert [e.message for e in events if isinstance(e, Warned)] == [
        "left out 1 of 4 training rows: longer than model.max_length = 200 tokens"
    ]
    with pytest.raises(
        UserError, match=r"none of the 4 training rows can be trained on; .* model\.max_length = 16"
    ):
        fit(job_in(tmp_path / "none", base, rows), max_length=16)


def test_one_row_that_the_template_cannot_keep_is_left_out_and_told(base, tmp_path):
    bad = training_rows(4)[3]
    turns = list(bad.messages)
    turns[bad.trained[-1]] = {"role": "assistant", "content": ""}
    rows = (*training_rows(3), replace(bad, messages=tuple(turns)))
    _, events = fit(job_in(tmp_path, base, rows))
    told = [e.message for e in events if isinstance(e, Warned)]
    assert len(told) == 1 and told[0].startswith("left out 1 of 4 training rows: training row")


def test_a_loss_that_is_no_number_fails_without_a_model(base, tmp_path):
    job = job_in(tmp_path, base, training_rows(6))
    with pytest.raises(StageFailed, match=r"the loss became .* lower m_step\.learning_rate"):
        fit(job, learning_rate=1e30, epochs=5)
    assert not Path(job.model_out).exists()


def test_a_launch_of_several_processes_is_refused(base, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="launches its own processes"):
        fit(job_in(tmp_path, base, training_rows(3)))


def test_rows_held_out_are_measured_as_a_batch_is_and_not_trained_on(base, tmp_path):
    from lpd_core.workload import split_rows

    rows = training_rows(10)
    learnt, held = split_rows(rows, 0.2, 7)
    assert len(held) == 2 and sorted([*learnt, *held], key=lambda r: r.prompt_id) == sorted(
        rows, key=lambda r: r.prompt_id
    )
    settings = {"learning_rate": 1e-12, "save_steps": 1, "validation_share": 0.2}
    result, events = fit(job_in(tmp_path, base, rows), **settings)
    means = [segment_losses(base, row) for row in held]
    by_hand = sum(r.weight * (z + y) / 2 for r, ((z, _), (y, _)) in zip(held, means, strict=True))
    assert result.validation_loss == pytest.approx(by_hand / sum(row.weight for row in held), rel=1e-5)
    measured = [e.step for e in events if isinstance(e, Measured) and e.name == "validation_loss"]
    assert measured == [1, 2] and result.steps == 2
    with pytest.raises(UserError, match="holds out all of the 1 prompts"):
        split_rows(rows[:1], 0.5, 7)


def test_early_stopping_keeps_the_best_weights_and_resumes(base, tmp_path):
    rows = training_rows(10)
    settings = {"epochs": 30, "learning_rate": 0.05, "save_steps": 2, "validation_share": 0.3}
    settings |= {"early_stopping": 2}
    whole, events = fit(job_in(tmp_path / "whole", base, rows), **settings)
    curve = {e.step: e.value for e in events if isinstance(e, Measured) and e.name == "validation_loss"}
    assert whole.steps < 60 and whole.best_step == min(curve, key=curve.__getitem__)
    assert whole.steps == whole.best_step + 4 and whole.validation_loss == min(curve.values())
    still = {**settings, "learning_rate": 1e-12, "early_stopping": 0, "epochs": 1}
    again, _ = fit(replace(job_in(tmp_path / "again", base, rows), model_in=whole.model_out), **still)
    assert again.validation_loss == pytest.approx(whole.validation_loss, rel=1e-4)
    broken = job_in(tmp_path / "broken", base, rows)
    with pytest.raises(StageFailed):
        fit(broken, stop_at=whole.steps - 1, **settings)
    resumed, _ = fit(broken, **settings)
    assert (resumed.steps, resumed.best_step) == (whole.steps, whole.best_step)
    assert model_digest(Path(resumed.model_out)) == model_digest(Path(whole.model_out))


def test_a_kept_adapter_on_the_base_is_the_merged_model(base, tmp_path):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    job = job_in(tmp_path, base, training_rows(6))
    result, _ = fit(job, lora_rank=2, keep_adapter=True, epochs=4)
    merged = AutoModelForCausalLM.from_pretrained(result.model_out)
    adapted = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base), Path(result.model_out) / "adapter"
    )
    ids = torch.tensor([[5, 6, 7, 8]])
    assert torch.allclose(merged(ids).logits, adapted(ids).logits, atol=1e-4)
    told = (Path(result.model_out) / "adapter" / "adapter_config.json").read_text()
    assert base.name in told and str(base.parent) not in told


def test_the_switches_reach_trl(base, tmp_path):
    from types import SimpleNamespace

    from lpd_core.training import SupervisedTrainer

    config = MStepConfig(
        dtype="bfloat16",
        gradient_checkpointing=True,
        validation_share=0.1,
        early_stopping=3,
        report_to="tensorboard",
        weight_decay=0.1,
        save_steps=7,
    )
    trainer = SupervisedTrainer(config, tiny_config(base), 2)
    work = SimpleNamespace(plan=[[0]] * 100, held=object())
    args = trainer._arguments(job_in(tmp_path, base, training_rows(2)), work)
    assert args.bf16 and not args.fp16 and args.gradient_checkpointing
    assert args.report_to == ["tensorboard"] and args.weight_decay == 0.1
    assert (args.eval_strategy, args.eval_steps, args.save_steps) == ("steps", 7, 7)
    assert args.load_best_model_at_end and args.warmup_steps == 3
    assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (8, 8)


@pytest.mark.parametrize("switch", [{"dtype": "bfloat16"}, {"gradient_checkpointing": True}])
def test_bfloat16_and_gradient_checkpointing_train_to_the_same_loss(base, tmp_path, switch):
    rows = training_rows(6)
    plain, _ = fit(job_in(tmp_path / "plain", base, rows))
    switched, _ = fit(job_in(tmp_path / "switched", base, rows), **switch)
    assert switched.first_loss == pytest.approx(plain.first_loss, rel=2e-2 if "dtype" in switch else 1e-5)


def test_the_row_shown_before_training_marks_what_carries_the_loss(base, tmp_path, capsys):
    fit(job_in(tmp_path, base, training_rows(3)))
    told = capsys.readouterr().out
    first = training_rows(1)[0]
    for turn in first.trained:
        assert f">>>{first.messages[turn]['content']}<|im_end|><<<" in told
    assert told.count(">>>") == 1 + len(first.trained)  # one in the words above the row


def test_a_checkpoint_that_transformers_cannot_load_is_told(base, tmp_path):
    from safetensors.torch import load_file, save_file

    from lpd_core.trained_model import check_loads

    check_loads(base)
    damaged = tmp_path / "damaged"
    shutil.copytree(base, damaged)
    weights = load_file(damaged / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, damaged / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StageFailed, match=r"does not load .*missing keys: model\.norm\.weight"):
        check_loads(damaged)
