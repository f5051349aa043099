"""Data: a file is looked at by a process with limits, mapped, imported, browsed, deleted; hostile ones do no harm."""

from __future__ import annotations

import json
import time

import pytest
from conftest import example_rows

from dashboard.conftest import open_page, words
from lpd_core.corpus import read_corpus
from lpd_core.store import Store, corpora
from pages.components import data_import


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LPD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def lines(rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def answered(app):
    """The page once no process is being waited for."""
    give_up = time.monotonic() + 90
    while time.monotonic() < give_up:
        app.run()
        pages = [f"{page}.inquiries" for page in ("data", "data.against")]
        known = [k for page in pages if page in app.session_state for k in app.session_state[page].values()]
        if all(inquiry.poll() is not None for inquiry in known):
            return app.run()
        time.sleep(0.2)
    raise AssertionError("no answer")


def uploading(content: bytes, name: str = "mine.jsonl"):
    app = open_page("data")
    app.file_uploader(key="data.file").upload(name, content, "application/octet-stream").run()
    app = answered(app)
    assert not app.exception, app.exception
    return app


def imported(home, tmp_path, rows=None) -> str:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(lines(rows or example_rows(60)))
    corpus = read_corpus(path)
    corpora.add_corpus(Store(home), corpus, str(path))
    return corpus.dataset_id


def test_an_upload_is_shown_mapped_and_imported(home):
    rows = [{"question": row["prompt"], "answer": row["gold"]} for row in example_rows(40)]
    app = uploading(lines([*rows, rows[0]]))
    assert "No row can be used as it is" in app.error[0].value
    app.selectbox(key="data.map.prompt.mine.jsonl").set_value("question")
    app.selectbox(key="data.map.gold.mine.jsonl").set_value("answer")
    next(button for button in app.button if button.label == "Apply").click().run()
    app = answered(app)
    numbers = {metric.label: metric.value for metric in app.metric}
    assert (numbers["Usable rows"], numbers["Bad rows"], numbers["Duplicates"]) == ("40", "0", "1")
    assert int(numbers["Train"]) + int(numbers["Dev"]) + int(numbers["Test"]) == 40
    app.button(key="data.import").click().run()
    assert not app.exception
    assert "Imported 40 rows" in app.success[0].value.replace("\\", "")
    (row,) = corpora.list_datasets(Store(home))
    assert (row["n_rows"], row["source"]) == (40, "upload of mine.jsonl")


def test_bad_rows_are_listed_with_their_line_and_left_out_on_request(home):
    app = uploading(lines(example_rows(5)) + b"not json\n" + lines([{"prompt": "x"}]))
    table = next(frame.value for frame in app.dataframe if "Reason" in frame.value)
    assert table["Line"].tolist() == [6, 7]
    assert app.button(key="data.import").disabled
    next(box for box in app.checkbox).check().run()
    app.button(key="data.import").click().run()
    assert corpora.list_datasets(Store(home))[0]["n_rows"] == 5


HOSTILE = {
    "html": lines([{"prompt": "<script>alert(1)</script>", "gold": "![x](http://evil.example/x.png)"}]),
    "null bytes": b'{"prompt": "a\x00b", "gold": "c"}\n',
    "escaped null": b'{"prompt": "a\\u0000b", "gold": "c"}\n',
    "huge line": b'{"prompt": "' + b"x" * (5 * 2**20) + b'", "gold": "y"}\n',
    "deep": b'{"prompt": ' + b"[" * 200_000 + b"]" * 200_000 + b"}\n",
    "latin-1": '{"prompt": "caf\u00e9", "gold": "c"}\n'.encode("latin-1"),
    "zip": b"PK\x03\x04 and so on",
    "empty": b"",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_shown_as_text_or_refused_in_a_line(home, kind):
    app = uploading(HOSTILE[kind], "../<b>evil.jsonl")
    if kind == "html":
        assert any("<script>" in str(frame.value) for frame in app.dataframe), "as text in a cell"
        return
    refused = [error.value for error in app.error]
    assert refused
    assert all("\n" not in line and len(line) < 2000 for line in refused)
    assert not Store(home).run_ids()


def test_a_file_that_takes_too_much_memory_is_refused_in_a_line(home, monkeypatch, tmp_path):
    """The limit holds in the process that reads, so the server never pays for a bomb."""
    monkeypatch.setattr(data_import, "LIMITS", {"seconds": 60.0, "memory": 400 * 2**20})
    app = uploading(b"[" + b'{"prompt": "p", "gold": "' + b"x" * (150 * 2**20) + b'"}]', "bomb.json")
    assert len(app.error[0].value) < 700
    assert "\n" not in app.error[0].value


def test_rows_are_paged_searched_and_read_as_plain_text(home, tmp_path):
    evil = {"id": "evil", "prompt": "<img src=x onerror=alert(1)>", "gold": "**bold** [a](http://x.example)"}
    name = imported(home, tmp_path, [*example_rows(60), evil])
    app = open_page("data", dataset=name)
    assert "Rows 1 to 25 of 61" in words(app)
    app.text_input(key=f"data.words.{name}").set_value("onerror").run()
    assert "Rows 1 to 1 of 1" in words(app)
    app = open_page("data", dataset=name, prompt=f"{name}:evil")
    said = words(app)
    assert "&lt;img src=x onerror=alert(1)&gt;" in said
    assert "<img" not in said


def test_benchmark_prompts_among_the_rows_are_found(home, tmp_path):
    name = imported(home, tmp_path)
    row = example_rows(1)[0]
    app = open_page("data", dataset=name)
    bench = lines([{"key": 1, "prompt": row["prompt"], "instruction_id_list": [], "kwargs": []}])
    app.file_uploader(key="data.against.files").upload("ifeval.jsonl", bench, "application/json").run()
    app.button(key="data.compare").click().run()
    app = answered(app)
    assert any("1 rows repeat" in warning.value for warning in app.warning)
    table = next(frame.value for frame in app.dataframe if "How" in frame.value)
    assert table["Benchmark"].tolist() == ["IFEval"]


def test_a_data_set_that_no_run_uses_can_be_deleted(home, tmp_path):
    name = imported(home, tmp_path)
    app = open_page("data", dataset=name)
    app.button(key="data.delete.sure").click().run()
    assert not app.exception
    assert corpora.list_datasets(Store(home)) == []


def test_nothing_imported_says_what_to_do(home):
    assert "Nothing is imported yet" in words(open_page("data"))
    assert not (home / "lpd.duckdb").exists(), "a look creates nothing"


@pytest.mark.parametrize("left", ["lpd.duckdb.repairing", ".restoring"])
def test_a_home_that_a_repair_or_a_restore_was_cut_off_in_is_not_taken_for_an_empty_one(home, left):
    home.mkdir(exist_ok=True)
    (home / left).mkdir() if left.startswith(".") else (home / left).write_text("")
    app = open_page("data")
    assert "cut off" in app.error[0].value and "Nothing is imported yet" not in words(app)
