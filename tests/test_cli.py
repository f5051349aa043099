"""The command line as a user meets it: JSON for programs, one clear line for a mistake, nothing half done."""

import json
import os
import subprocess
import sys

import pytest
import tomli_w
from conftest import PROJECT, example_rows, run_inline, write_jsonl

from lpd_core.cli import main
from lpd_core.store import Store


@pytest.fixture
def cli(home, capsys, monkeypatch):
    """Run a command in this process: (exit code, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["lpd_core", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return call


COMMANDS = (
    [
        [name]
        for name in ("run", "resume", "stop", "approve", "check", "status", "list", "report", "sql", "doctor")
    ]
    + [["data", name] for name in ("import", "list", "show")]
    + [["export", name] for name in ("sft", "preferences", "candidates", "report", "model")]
    + [
        ["constitution", name]
        for name in [
            "show",
            "clusters",
            "edit",
            "preview",
            "undo",
            "redo",
            "log",
            "versions",
            "diff",
            "save",
            "restore-version",
            "approve",
            "export",
            "import",
            "replay",
            "lineage",
            "suggest",
        ]
    ]
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_and_json(cli, command):
    code, out, _ = cli(*command, "--help")
    assert code == 0
    assert "Example" in out
    assert "--json" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "say what to run"),
        (["run", "--preset", "demmo"], "did you mean 'demo'"),
        (["run", "--preset", "demo", "--set", "e_step.n=0"], "greater than or equal to 1"),
        (["run", "--preset", "demo", "--set", "e_step.samples=4"], "unknown setting 'e_step.samples'"),
        (["run", "--preset", "demo", "--set", "model.path=/nowhere/model"], "/nowhere/model"),
        (["run", "--preset", "demo", "--set", "iterations=90"], "too few"),
        (
            ["run", "--preset", "demo", "--set", 'data.train=["nope.jsonl"]'],
            "neither a file nor an imported data set",
        ),
        (["run", "--config", "/nowhere/run.toml"], "cannot read"),
        (["status", "demo-1"], "no runs yet"),
        (["data", "show", "dolly"], "data import"),
        (["data", "import", "/nowhere/rows.jsonl"], "/nowhere/rows.jsonl"),
        (["sql", "drop table runs"], "only one SELECT"),
        (["constitution", "show", "last"], "no runs yet"),
        (["export", "sft", "last", "out.jsonl"], "no runs yet"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_told_in_one_line_and_exits_with_2(cli, arguments, said):
    code, _, err = cli(*arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1


@pytest.mark.parametrize("setting", ["e_step.n=0", "model.path=/nowhere/model", "data.train=[]"])
def test_a_refused_run_writes_nothing(cli, home, setting):
    code, _, _ = cli("run", "--preset", "demo", "--set", setting)
    assert code == 2
    assert not home.exists()


def test_a_refused_import_writes_nothing_and_skip_bad_takes_the_rest(cli, home, tmp_path):
    file = tmp_path / "rows.jsonl"
    good = json.dumps({"prompt": "a question", "gold": "an answer"})
    file.write_text(f'{good}\nnot json\n{{"prompt": "b"}}\n')
    code, _, err = cli("data", "import", file)
    assert code == 2 and "line 2" in err and "line 3" in err
    assert not home.exists()
    code, out, err = cli("data", "import", file, "--skip-bad", "--json")
    told = json.loads(out)
    assert code == 0 and told["rows"] == 1
    assert [row["line"] for row in told["skipped"]] == [2, 3]
    assert "line 2" in err and "line 3" in err


def test_a_model_without_a_chat_template_is_refused_before_the_first_token(cli, home, tmp_path):
    from tests.models import tiny_model

    model = tiny_model(tmp_path / "model")
    for file in model.glob("chat_template*"):
        file.unlink()
    settings = json.loads((model / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    code, _, err = cli("run", "--preset", "demo", "--set", f"model.path={model}")
    assert code == 2 and "chat template" in err
    assert not home.exists()


def test_importing_the_same_file_twice_changes_nothing(cli, tmp_path):
    file = write_jsonl(tmp_path / "rows.jsonl", example_rows(5))
    assert json.loads(cli("data", "import", file, "--json")[1])["added"] is True
    assert json.loads(cli("data", "import", file, "--json")[1])["added"] is False
    assert [row["n_rows"] for row in json.loads(cli("data", "list", "--json")[1])] == [5]


def test_check_tells_facts_and_warnings_without_writing(cli, home):
    code, out, _ = cli("check", "--preset", "demo", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["facts"]["trained_tokens"] > 0
    assert told["facts"]["estimate"]["generations"] > 1000
    assert not home.exists()


@pytest.fixture
def finished(store, scripted_settings):
    return run_inline(store, {**scripted_settings, "iterations": 1})


def test_looking_at_a_finished_run(cli, finished):
    assert json.loads(cli("status", "last", "--json")[1])["status"] == "finished"
    assert json.loads(cli("list", "--json")[1])[0]["run"] == finished.run_id
    report = json.loads(cli("report", "last", "--json")[1])
    assert report["heldout"]["test"]["1"]["response"]["n"] == 8
    assert json.loads(cli("sql", "select count(*) n from runs", "--json")[1]) == [{"n": 1}]
    assert cli("check", "--run", "last")[0] == 0
    for command in (["report", "last"], ["status"], ["list"], ["constitution", "show", "last"]):
        assert cli(*command)[0] == 0


def test_a_broken_promise_exits_with_1_and_is_named(cli, store, finished):
    store.database.execute("update candidates set response = 'nothing' where selected")
    code, _, err = cli("check", "--run", "last")
    assert code == 1
    assert "2 every selected trajectory gains" in err


def test_exports_load_where_they_are_meant_to(cli, finished, tmp_path):
    from datasets import load_dataset

    for kind, columns in (
        ("sft", {"prompt", "completion"}),
        ("preferences", {"prompt", "chosen", "rejected"}),
        ("candidates", {"principle", "status", "draft", "gold"}),
    ):
        for ending, reader in (("jsonl", "json"), ("parquet", "parquet")):
            out = tmp_path / f"{kind}.{ending}"
            code, _, err = cli("export", kind, "last", out)
            assert code == 0, err
            rows = load_dataset(reader, data_files=str(out), split="train", cache_dir=str(tmp_path / "cache"))
            assert len(rows) > 0 and columns <= set(rows.column_names)
    code, _, err = cli("export", "sft", "last", tmp_path / "rows.xlsx")
    assert code == 2 and ".jsonl" in err


def test_the_report_is_one_file_without_scripts_that_shows_texts_as_text(cli, store, finished, tmp_path):
    planted = """replace(entries, '"label":"', '"label":"<script>alert(1)</script>')"""
    store.database.execute(f"update constitution_versions set entries = {planted}")
    out = tmp_path / "report.html"
    assert cli("export", "report", "last", out)[0] == 0
    page = out.read_text()
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "://" not in page.replace("http://www.w3.org", "")


def test_the_gate_from_the_command_line(home, tmp_path, scripted_settings, cli):
    config = tmp_path / "run.toml"
    settings = {**scripted_settings, "iterations": 1, "review": True}
    settings["cluster"] = {**settings["cluster"], "choose": "k", "k": 4}
    config.write_text(tomli_w.dumps(settings))
    code, _, err = cli("run", "--config", config)
    assert code == 0 and "waiting for your review" in err
    entries = json.loads(cli("constitution", "show", "last", "--json")[1])["entries"]
    ids = [entry["id"] for entry in entries]
    code, out, _ = cli("constitution", "preview", "last", "prune", f"id={ids[0]}", "--json")
    assert json.loads(out)["lost"] > 0
    for edit in (
        ["merge", f"ids={ids[1]},{ids[2]}", "--reason", "same idea"],
        ["prune", f"id={ids[0]}"],
        ["reword", f"id={ids[3]}", "text=Say precisely what is meant."],
    ):
        code, _, err = cli("constitution", "edit", "last", *edit, "--author", "ada")
        assert code == 0, err
    code, _, err = cli("constitution", "edit", "last", "merge", "ids=1.99,1.98")
    assert code == 2 and "1.99" in err
    code, out, _ = cli("constitution", "diff", "last", "--json")
    assert sorted(change["kind"] for change in json.loads(out)["changes"]) == [
        "merged",
        "removed",
        "reworded",
    ]
    code, out, err = cli("approve", "last", "--author", "ada", "--message", "three edits")
    assert code == 0, err
    trained = {row["principle"] for row in Store(home).database.query("select principle from training_rows")}
    assert "Say precisely what is meant." in trained
    pruned = next(entry for entry in entries if entry["id"] == ids[0])
    assert pruned["text"] not in trained
    assert cli("check", "--run", "last")[0] == 0


def test_stop_and_resume_from_the_command_line(home, tmp_path, scripted_settings):
    config = tmp_path / "run.toml"
    config.write_text(tomli_w.dumps({**scripted_settings, "iterations": 1}))

    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "lpd_core", *arguments],
            cwd=PROJECT, env={**os.environ, "LPD_HOME": str(home)}, capture_output=True, text=True,
        )  # fmt: skip

    started = call("run", "--config", str(config), "--detach", "--json")
    assert started.returncode == 0, started.stderr
    while "queued" in call("status", "last").stdout:
        pass
    stopped = call("stop", "last", "--json")
    assert json.loads(stopped.stdout)["status"] == "stopped", stopped.stderr
    assert call("stop", "last").returncode == 2
    resumed = call("resume", "last")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(call("status", "last", "--json").stdout)["status"] == "finished"
    assert call("resume", "last").returncode == 2
