"""The card of a trained checkpoint, and the checkpoint's way out of a run."""

import sys

import pytest
import yaml
from conftest import run_inline
from models import tiny_model

from lpd_core.cli import main
from lpd_core.model_card import render_card, write_card
from lpd_core.store import Store, constitutions
from lpd_core.trained_model import RESULT


@pytest.fixture
def trained(home, scripted_settings):
    """A scripted run whose first checkpoint holds the weights of a tiny model."""
    store = Store()
    folder = run_inline(store, scripted_settings)
    tiny_model(folder.checkpoint(1))
    (folder.checkpoint(1) / RESULT).write_text(
        '{"steps": 3, "tokens": 90, "trained_tokens": 20, "first_loss": 2.5, "last_loss": 1.25}'
    )
    return store, folder


@pytest.fixture
def cli(capsys, monkeypatch):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["lpd_core", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return call


def test_every_checkpoint_carries_a_card_with_data_constitution_measures_and_configuration(trained):
    store, folder = trained
    card = (folder.checkpoint(1) / "README.md").read_text()
    metadata, body = card.removeprefix("---\n").split("---\n", 1)
    assert yaml.safe_load(metadata)["library_name"] == "transformers"
    approved = constitutions.approved(store, folder.run_id, 1)
    assert approved.active and all(entry.text.rstrip(".") in body for entry in approved.active)
    assert "Version 1 of iteration 1" in body
    assert "| Data set | Prompts mined | Prompts measured | Licence |" in body and "not stated" in body
    for iteration in ("base", "1"):
        assert f"| {iteration} | dev |" in body
    assert "[m_step]" in body and str(folder.root.parent) not in card


def test_a_card_numbers_principles_by_support_and_keeps_paths_of_data_to_itself(home, scripted_settings):
    store = Store()
    train = scripted_settings["data"].pop("train")[0]
    mixture = {**scripted_settings["data"], "mixture": {train: 1.0}}
    folder = run_inline(store, {**scripted_settings, "data": mixture, "iterations": 1})
    card = render_card(store, folder, 1)
    assert "train.jsonl" in card and train.removesuffix("train.jsonl") not in card
    approved = constitutions.approved(store, folder.run_id, 1)
    by_support = sorted(approved.active, key=lambda entry: -entry.trajectories)
    assert by_support[0].trajectories > by_support[-1].trajectories
    places = [card.index(entry.text.rstrip(".")) for entry in by_support]
    assert places == sorted(places)


def test_a_card_tells_the_training_and_shows_hostile_names_as_text(trained):
    store, folder = trained
    path = write_card(store, folder, 1)
    assert "3 optimiser steps, 90 tokens of which 20 carried the loss; loss 2.5000" in path.read_text()
    with store.database.write() as connection:
        connection.execute("update datasets set license = '<img src=x> | [a](http://b)'")
    assert "<img" not in render_card(store, folder, 1).replace("\\<img", "")


def test_a_model_is_copied_whole_without_the_record_of_its_training(trained, cli, tmp_path):
    target = tmp_path / "mine"
    code, told, _ = cli("export", "model", "last", 1, "--to", target)
    assert code == 0 and str(target) in told
    names = {path.name for path in target.iterdir()}
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= names
    assert RESULT not in names
    code, _, told = cli("export", "model", "last", 1, "--to", target)
    assert code == 2 and "nothing is overwritten" in told


def test_a_push_that_cannot_be_is_refused_in_one_line(trained, cli, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    code, _, told = cli("export", "model", "last", 1, "--push", "me/mine")
    assert code == 2 and "set $HF_TOKEN" in told
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, _, told = cli("export", "model", "last", 1, "--push", "me/mine")
    assert code == 2 and "HF_HUB_OFFLINE" in told and "secret" not in told and told.count("\n") == 1
    code, _, told = cli("export", "model", "last", 9, "--to", "x")
    assert code == 2 and "has no model of iteration 9" in told
    code, _, told = cli("export", "model", "last", 1)
    assert code == 2 and "--to FOLDER" in told


def test_a_push_uploads_all_but_the_record_with_the_token_of_the_environment(trained, cli, monkeypatch):
    calls = []

    class Api:
        endpoint = "https://hub.test"

        def __init__(self, token):
            calls.append(("token", token))

        def create_repo(self, name, private, exist_ok):
            calls.append(("create", name, private))

        def upload_folder(self, repo_id, folder_path, ignore_patterns):
            calls.append(("upload", repo_id, ignore_patterns, (folder_path / "README.md").exists()))

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    code, told, _ = cli("export", "model", "last", 1, "--push", "me/mine")
    assert code == 0 and "https://hub.test/me/mine" in told
    assert calls == [
        ("token", "hf_secret"),
        ("create", "me/mine", True),
        ("upload", "me/mine", [RESULT], True),
    ]
