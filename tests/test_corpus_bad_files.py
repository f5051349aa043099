"""Files that are no corpus, damaged lists and tables, impossible settings, fuzz: only `DataError` escapes."""

from __future__ import annotations

import json
import os
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lpd_core.corpus import FORMATS, SPLITS, read_corpus
from lpd_core.errors import DataError
from tests.corpus_files import GOOD, prompts_and_golds, refusal, write, write_rows


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.jsonl", b"", "is empty"),
        ("blank.jsonl", b"\n \r\n\n", "holds no rows"),
        ("bom.jsonl", b"\xef\xbb\xbf", "holds no rows"),
        ("empty.json", b" [ ]\n", "holds no rows"),
        ("header.csv", b"prompt,gold\n", "holds no rows"),
        ("rows.csv", b"\n\n", "holds no rows"),
        ("rows.csv", b"prompt,prompt\na,b\n", "names prompt twice"),
        ("rows.csv", b",\na,b\n", "names no column"),
        ("rows.csv", b"pr\xffompt,gold\na,b\n", "invalid UTF-8 at byte 2"),
        ("rows.csv", b"x" * 3_000_000, "the header line cannot be read: 3000000 bytes"),
        ("rows.jsonl.gz", b"\x1f\x8b\x08\x00", "packed with gzip; unpack it first"),
        ("utf16.jsonl", '{"prompt": "a"}'.encode("utf-16"), "is UTF-16; save it as UTF-8"),
        ("rows.parquet", b"not one", "is no Parquet file"),
        ("rows.parquet", b"PAR1 and then nonsense PAR1", "is a damaged Parquet file"),
        ("notes.txt", b"Just some words.\n", "line 1: not JSON"),
        ("one.json", b'{\n "prompt": "a"\n}\n', "one JSON list, named .json"),
    ],
)
def test_a_file_that_holds_no_corpus_is_refused(tmp_path, name, content, said):
    assert said in str(refusal(write(tmp_path, content, name)))


def test_a_path_that_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert "does not exist" in str(refusal(tmp_path / "missing.jsonl"))
    assert "is a folder" in str(refusal(tmp_path))
    assert "is not a regular file" in str(refusal(tmp_path / "pipe.jsonl"))
    assert "cannot be read: File name too long" in str(refusal(tmp_path / ("x" * 300)))
    with pytest.raises(DataError, match="null byte"):
        read_corpus(tmp_path / "a\0b")


def test_a_file_that_may_not_be_read_is_refused(tmp_path):
    path = write_rows(tmp_path, GOOD)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read every file; be nobody for a moment
        os.seteuid(65534)
    try:
        error = refusal(path)
    finally:
        os.seteuid(user)
    assert "cannot be read: Permission denied; check the path and its permissions" in str(error)


def test_a_broken_list_still_gives_the_rows_before_the_break(tmp_path):
    path = write(tmp_path, '[\n{"prompt": "a", "gold": "b"},\n{"prompt": "c", "go', "rows.json")
    assert "row 2 (line 2): not JSON: the list breaks off here" in str(refusal(path))
    assert prompts_and_golds(read_corpus(path, skip_bad=True)) == [("a", "b")]


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (",]", "row 2 (line 3): not JSON"),
        (', "unclosed]', "row 2 (line 2): not JSON: the list breaks off"),
        ("] {}", "row 2 (line 3): not JSON: something follows"),
        (
            ',\n {"prompt": "a",\n  "gold": b}]',
            "row 2 (line 3): not JSON: expecting value at line 4, column 11",
        ),
        (", [1]]", "row 2 (line 2): a list that begins with a number, must be an object"),
        (', {"prompt": "%s"}]' % ("x" * 1000), "row 2 (line 2): 1014 bytes, more than the limit of 100"),
    ],
)
def test_a_damaged_list_names_row_and_line(tmp_path, ending, said):
    path = write(tmp_path, '[\n{"prompt": "a", "gold": "b"}' + ending, "rows.json")
    message = str(refusal(path, max_row_bytes=100))
    assert said.partition(":")[0].split(" (")[0] in message
    assert said.partition(": ")[2] in message


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b"a", "1 cells, the header has 2"),
        (b"a,b,c", "3 cells, the header has 2"),
        (b'"a"b,c', "not CSV"),
        (b"a\xff,b", "invalid UTF-8 at byte 21"),
        (b"a,", "'gold' is empty"),
        (b"a," + b"b" * 500, "503 bytes, more than the limit of 200"),
    ],
)
def test_a_bad_csv_row_names_its_line_and_leaves_the_others(tmp_path, row, said):
    path = write(tmp_path, b'prompt,gold\n"c\nd",e\n' + b"%s\nf,g\n" % row, "rows.csv")
    error = refusal(path, max_row_bytes=200)
    assert error.problems[0].startswith("line 4: ") and said in error.problems[0]
    corpus = read_corpus(path, max_row_bytes=200, skip_bad=True)
    assert prompts_and_golds(corpus) == [("c\nd", "e"), ("f", "g")]


def test_an_unclosed_quote_names_the_line_it_opens_on(tmp_path):
    path = write(tmp_path, 'prompt,gold\na,b\n"c,d\ne,f\n', "rows.csv")
    assert "line 3: not CSV" in str(refusal(path))


def test_bad_parquet_rows_are_named_by_their_row(tmp_path):
    import pyarrow
    import pyarrow.parquet

    broken = pyarrow.StringArray.from_buffers(
        2, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pyarrow.py_buffer(b"a\xff")
    )
    table = pyarrow.table({"prompt": broken, "gold": ["b", "c"]})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    assert "row 2: invalid UTF-8" in str(refusal(tmp_path / "rows.parquet"))
    assert len(read_corpus(tmp_path / "rows.parquet", skip_bad=True).examples) == 1


def test_a_huge_line_is_passed_over_without_being_held(tmp_path):
    path = tmp_path / "huge.jsonl"
    with path.open("wb") as file:
        file.write(json.dumps(GOOD).encode() + b"\n")
        file.truncate(100 * 2**20)
    tracemalloc.start()
    try:
        corpus = read_corpus(path, skip_bad=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert corpus.counts == {"too_long": 1}
    assert peak < 10 * 2**20


def test_the_row_limit_counts_bytes_without_the_line_end(tmp_path):
    path = write_rows(tmp_path, GOOD)
    size = path.stat().st_size - 1
    assert len(read_corpus(path, max_row_bytes=size).examples) == 1
    assert "raise --max-row-bytes" in str(refusal(path, max_row_bytes=size - 1))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"format": "dolley"}, "unknown format 'dolley'"),
        ({"split": "tran"}, "did you mean 'train'"),
        ({"mapping": {"promt": "x"}}, "did you mean 'prompt'"),
        ({"mapping": {"prompt": "question"}}, "no 'question' (mapped to prompt); the row has: prompt, gold"),
        ({"max_row_bytes": 0}, "must be at least 1"),
        ({"name": ""}, "give one with --name"),
        ({"name": "a/b"}, "give one with --name"),
        ({"name": "x" * 81}, "give one with --name"),
    ],
)
def test_an_impossible_setting_is_refused_with_what_is_allowed(tmp_path, options, said):
    with pytest.raises(DataError) as caught:
        read_corpus(write_rows(tmp_path, GOOD), **options)
    assert said in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
field_names = st.sampled_from(
    ["prompt", "messages", "gold", "response", "answer", "chosen", "rejected", "instruction", "context"]
) | st.sampled_from(
    ["input", "output", "conversations", "question", "instances", "id", "_id", "split", "meta", "system"]
)
field_names |= (
    st.sampled_from(
        ["completions", "completion", "info", "summaries", "choice", "post", "summary", "text_a", "text_b"]
    )
    | st.sampled_from(
        [
            "preferred_text",
            "preferred",
            "response_a",
            "response_b",
            "turns",
            "question_id",
            "reference",
            "key",
        ]
    )
    | st.sampled_from(["instruction_id_list", "dataset", "generator", "answer_id", "choices", "comparisons"])
)
turns = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "tool", 3]),
        "content": json_values,
        "from": st.sampled_from(["human", "gpt", "bot", None]),
        "value": json_values,
        "output": json_values,
    },
)
transcripts = st.lists(st.sampled_from(["\n\nHuman: a", "\n\nAssistant: b", "\n\nHuman:", "x"])).map("".join)
plausible_rows = st.dictionaries(
    field_names, json_values | st.lists(turns, max_size=4) | transcripts | turns, max_size=5
)


def check_reads_or_refuses(content: bytes, name: str, **options) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            corpus = read_corpus(write(Path(folder), content, name), skip_bad=True, **options)
            read_corpus(Path(folder) / name, skip_bad=True, evaluation=True)
        except DataError as error:
            assert str(error).isprintable()
            return
    for example in corpus.examples:
        assert example.gold.strip() and example.messages[-1]["role"] == "user" and example.split in SPLITS
        json.dumps([example.messages, example.meta], allow_nan=False, ensure_ascii=False).encode()


@given(st.binary(max_size=200), st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.parquet", "a"]))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_bytes_raise_nothing_but_a_data_error(content, name):
    check_reads_or_refuses(content, name)
    check_reads_or_refuses(b"[" + content, name)
    check_reads_or_refuses(b"prompt,gold\n" + content, name)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_damaged_parquet_file_raises_nothing_but_a_data_error(parquet_bytes, data):
    place = data.draw(st.integers(0, len(parquet_bytes) - 1))
    damaged = bytearray(parquet_bytes)
    damaged[place] ^= data.draw(st.integers(1, 255))
    check_reads_or_refuses(bytes(damaged), "a.parquet")


@pytest.fixture(scope="module")
def parquet_bytes(tmp_path_factory) -> bytes:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path_factory.mktemp("parquet") / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([GOOD] * 3), path)
    return path.read_bytes()


@given(st.lists(json_values | plausible_rows, max_size=5), st.sampled_from(["auto", *FORMATS]), st.booleans())
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_rows_raise_nothing_but_a_data_error(rows, format, as_list):
    if as_list:
        check_reads_or_refuses(json.dumps(rows).encode(), "a.json", format=format)
    else:
        check_reads_or_refuses("\n".join(map(json.dumps, rows)).encode(), "a.jsonl", format=format)
