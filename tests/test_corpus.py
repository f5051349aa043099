"""Corpora: every format is read, every bad row is named with its line and its mend, nothing else escapes."""

from __future__ import annotations

import json
import os
import resource
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lpd_core.corpus import FORMATS, SPLITS, Corpus, content_key, read_corpus, split_of
from lpd_core.errors import DataError

FIXTURES = Path(__file__).parent / "fixtures" / "corpus"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
GOOD = {"prompt": "What is tea?", "gold": "A drink."}

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real sample files are not at {SHARED}")


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


def write(folder: Path, content: bytes | str, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_rows(folder: Path, *rows: object) -> Path:
    return write(folder, "".join(json.dumps(row) + "\n" for row in rows))


def refusal(path: Path, **options) -> DataError:
    """The error, after checking what holds for each: one line, which names the file."""
    with pytest.raises(DataError) as caught:
        read_corpus(path, **options)
    message = str(caught.value)
    assert message.isprintable()
    assert path.name in message
    return caught.value


def prompts_and_golds(corpus: Corpus) -> list[tuple[str, str]]:
    return [(example.messages[-1]["content"], example.gold) for example in corpus.examples]


# ---------------------------------------------------------------------------------------------- formats


def test_a_generic_file_keeps_ids_splits_turns_and_meta_as_they_are():
    corpus = read_corpus(FIXTURES / "generic.jsonl")
    first, second, third, fourth = corpus.examples
    assert corpus.format == "generic"
    assert first.messages == (system("You sell tea."), user("Which tea is mild?"))
    assert first.meta == {"right_principles": ["Name one product.", "Be brief."]}
    assert [example.prompt_id.partition(":")[2] for example in corpus.examples] == [
        "tea-1",
        "tea-2",
        "line3",
        "line5",
    ]
    assert [first.split, second.split, third.split] == ["train", "dev", "test"]
    assert fourth.messages == (user("Hello"), assistant("Hello, what can I do?"), user("A cup, please."))
    assert third.gold == "Yes, to all of Europe."
    assert corpus.skipped == () and corpus.counts == {}


def test_an_instruction_is_followed_by_its_context_after_a_blank_line():
    corpus = read_corpus(FIXTURES / "dolly.jsonl")
    assert corpus.format == "instruction"
    assert prompts_and_golds(corpus) == [
        ("When did the mill open?\n\nThe mill opened in 1871.", "In 1871."),
        ("Name a primary colour.", "Red."),
        ("Name a bird.", "A wren."),
    ]
    assert [example.meta for example in corpus.examples] == [{"category": "closed_qa"}, {}, {}]


def test_an_alpaca_list_is_read_like_dolly():
    corpus = read_corpus(FIXTURES / "alpaca.json")
    assert corpus.format == "instruction"
    assert prompts_and_golds(corpus) == [
        ("Translate to French.\n\nGood morning", "Bonjour"),
        ("Say hello.", "Hello."),
    ]


def test_the_gold_of_a_transcript_is_the_last_chosen_reply():
    corpus = read_corpus(FIXTURES / "hh.jsonl")
    long, parted, empty = corpus.examples
    assert corpus.format == "hh-rlhf"
    assert long.messages == (
        user("Is it raining?"),
        assistant("I cannot see outside. Is it?"),
        user("It is."),
    )
    assert long.gold == "Then take an umbrella."
    assert long.meta == {"rejected": "So what?"}
    assert parted.gold == "Hello, how are you?" and parted.meta == {}, "it rejects a reply to another prompt"
    assert empty.gold == "Sleep well." and empty.meta == {}


def test_preference_pairs_are_read_as_texts_replies_and_whole_chats():
    corpus = read_corpus(FIXTURES / "preference.jsonl")
    assert corpus.format == "preference"
    assert [example.messages for example in corpus.examples] == [
        (user("What is 2 + 2?"),),
        (user("What is 3 + 3?"),),
        (user("What is 4 + 4?"),),
    ]
    assert [example.gold for example in corpus.examples] == ["It is 4.", "It is 6.", "It is 8."]
    assert [example.meta["rejected"] for example in corpus.examples] == ["It is 5.", "It is 7.", "It is 9."]


def test_the_gold_of_a_sharegpt_row_is_chosen_or_else_its_last_turn():
    corpus = read_corpus(FIXTURES / "sharegpt.json")
    assert corpus.format == "sharegpt"
    assert corpus.examples[0].messages == (user("Name a river."),)
    assert corpus.examples[0].gold == "The Danube."
    assert corpus.examples[1].messages == (system("You know rivers."), user("And a longer one?"))
    assert corpus.examples[1].gold == "The Nile."


def test_a_hotpot_question_stands_below_its_titled_paragraphs():
    corpus = read_corpus(FIXTURES / "hotpot.json")
    (example,) = corpus.examples
    assert corpus.format == "hotpot"
    assert example.prompt_id.endswith(":5a")
    assert example.messages[0]["content"] == (
        "The composer\nHe lived in Vienna. He wrote songs.\n\nA river\nIt is long.\n\n"
        "Where did the composer live?"
    )
    assert example.gold == "Vienna"


def test_the_hub_s_hotpot_columns_give_the_same_prompt(tmp_path):
    (row,) = json.loads((FIXTURES / "hotpot.json").read_text())
    titles, sentences = zip(*row["context"], strict=True)
    path = write_rows(tmp_path, row | {"context": {"title": titles, "sentences": sentences}})
    assert (
        read_corpus(path).examples[0].messages == read_corpus(FIXTURES / "hotpot.json").examples[0].messages
    )


def test_a_seed_task_is_its_instruction_with_its_first_instance():
    corpus = read_corpus(FIXTURES / "self_instruct.jsonl")
    assert corpus.format == "self-instruct"
    assert prompts_and_golds(corpus) == [("Give the antonym.\n\nwarm", "cold")]


def test_a_csv_row_may_span_lines_and_hold_json_in_its_meta():
    corpus = read_corpus(FIXTURES / "generic.csv")
    assert prompts_and_golds(corpus) == [("Which is larger,\n2 or 3?", "3"), ("Name a fish.", "A trout.")]
    assert corpus.examples[0].meta == {"kind": "sums"}
    assert [example.prompt_id.partition(":")[2] for example in corpus.examples] == ["7", "line4"]


def test_a_csv_cell_may_hold_a_chat_as_json(tmp_path):
    chat = json.dumps([user("Hello")]).replace('"', '""')
    path = write(tmp_path, f'messages,gold\n"{chat}",Hi\n', "rows.csv")
    assert read_corpus(path).examples[0].messages == (user("Hello"),)


CHATS = [
    {"id": "a", "messages": [user("Hello")], "gold": "Hi.", "meta": {"kind": "greeting"}},
    {"messages": [system("Be kind."), user("Bye")], "gold": "Farewell.", "split": "test"},
]


@pytest.mark.parametrize("name", ["dolly.jsonl", "hh.jsonl", "chats"])
def test_a_parquet_file_gives_the_examples_of_the_same_json_lines(tmp_path, name):
    import pyarrow
    import pyarrow.parquet

    rows = CHATS if name == "chats" else fixture_rows(name)
    columns = {key: [row.get(key) for row in rows] for row in rows for key in row}
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    lines, table = read_corpus(write_rows(tmp_path, *rows)), read_corpus(path)
    assert table.format == lines.format
    for from_table, from_lines in zip(table.examples, lines.examples, strict=True):
        assert from_table.messages == from_lines.messages
        assert (from_table.gold, from_table.split) == (from_lines.gold, from_lines.split)
        assert from_table.meta == from_lines.meta


def test_a_mapping_fills_fields_from_columns_with_other_names(tmp_path):
    path = write_rows(tmp_path, {"key": 5, "question": "Why?", "answer": "Because."})
    corpus = read_corpus(path, mapping={"prompt": "question", "gold": "answer", "id": "key"})
    assert prompts_and_golds(corpus) == [("Why?", "Because.")]
    assert corpus.examples[0].prompt_id.endswith(":5")


def test_the_format_is_that_of_the_first_row_that_fits_one(tmp_path):
    path = write(tmp_path, 'nonsense\n{"x": 1}\n' + (FIXTURES / "dolly.jsonl").read_text())
    corpus = read_corpus(path, skip_bad=True)
    assert corpus.format == "instruction"
    assert len(corpus.examples) == 3
    assert [problem.line for problem in corpus.skipped] == [1, 2]


def test_a_named_format_overrides_the_detected_one(tmp_path):
    path = write_rows(
        tmp_path, {"instruction": "Go.", "response": "Gone.", "prompt": "Stay.", "gold": "Here."}
    )
    assert prompts_and_golds(read_corpus(path)) == [("Go.", "Gone.")]
    assert prompts_and_golds(read_corpus(path, format="generic")) == [("Stay.", "Here.")]


@pytest.mark.parametrize(
    "content",
    [
        b'\xef\xbb\xbf{"prompt": "What is tea?", "gold": "A drink."}\n',
        b'{"prompt": "What is tea?", "gold": "A drink."}\r\n\r\n',
        b'\n \n{"prompt": "What is tea?", "gold": "A drink."}',
        b'{"prompt": "What is tea?", "gold": "A drink.", "score": null}',
    ],
    ids=["BOM", "CRLF", "blank lines, no last newline", "null in a field nobody reads"],
)
def test_harmless_oddities_are_accepted(tmp_path, content):
    assert prompts_and_golds(read_corpus(write(tmp_path, content))) == [("What is tea?", "A drink.")]


def test_unicode_lands_unchanged(tmp_path):
    gold = "Tee trinkt man heiß 🍵 \u2028 اشرب"
    assert read_corpus(write_rows(tmp_path, GOOD | {"gold": gold})).examples[0].gold == gold


# --------------------------------------------------------------------------------------------- bad rows

BAD_LINES = {
    "not JSON": (b'{"prompt": "a", gold}', "not_json", ["line 2, column 17"]),
    "cut off": (b'{"prompt": "a", "gold": "b', "not_json", ["not JSON", "line 2"]),
    "a JSON list": (b"[1, 2]", "not_object", ["a list", "object"]),
    "a JSON number": (b"3", "not_object", ["a number"]),
    "no gold": (
        b'{"prompt": "a", "score": 1}',
        "missing_field",
        ["'gold'", "prompt, score", "--map gold=FIELD"],
    ),
    "no prompt": (
        b'{"question": "a", "gold": "b"}',
        "missing_field",
        ["'prompt'", "question", "--map prompt="],
    ),
    "no field": (b"{}", "missing_field", ["the row has: nothing"]),
    "prompt of numbers": (
        b'{"prompt": [1, 2], "gold": "b"}',
        "wrong_type",
        ["begins with a number", "string"],
    ),
    "prompt a number": (b'{"prompt": 7, "gold": "b"}', "wrong_type", ["'prompt' is a number"]),
    "gold an object": (b'{"prompt": "a", "gold": {"text": "b"}}', "wrong_type", ["'gold' is an object"]),
    "gold null": (b'{"prompt": "a", "gold": null}', "empty", ["'gold' is null"]),
    "gold empty": (b'{"prompt": "a", "gold": ""}', "empty", ["'gold' is empty"]),
    "gold blank": (b'{"prompt": "a", "gold": " \\n\\t"}', "empty", ["'gold' is empty"]),
    "prompt empty": (b'{"prompt": "", "gold": "b"}', "empty", ["'prompt' is empty"]),
    "no turns": (b'{"messages": [], "gold": "b"}', "wrong_type", ["an empty list"]),
    "messages a text": (b'{"messages": "a", "gold": "b"}', "not_json", ["'messages' is a string"]),
    "meta a text": (b'{"prompt": "a", "gold": "b", "meta": "kind"}', "not_json", ["'meta'"]),
    "meta a list": (b'{"prompt": "a", "gold": "b", "meta": [1]}', "wrong_type", ["'meta' is a list"]),
    "meta too deep": (
        b'{"prompt": "a", "gold": "b", "meta": {"x": ' + b"[" * 40 + b"]" * 40 + b"}}",
        "too_deep",
        ["'meta'", "32"],
    ),
    "id a list": (b'{"prompt": "a", "gold": "b", "id": [1]}', "wrong_type", ["'id' is a list"]),
    "id a boolean": (b'{"prompt": "a", "gold": "b", "id": true}', "wrong_type", ["'id' is a boolean"]),
    "id with a newline": (b'{"prompt": "a", "gold": "b", "id": "x\\ny"}', "bad_text", ["'id'", "printable"]),
    "id too long": (b'{"prompt": "a", "gold": "b", "id": "%s"}' % (b"x" * 201), "bad_text", ["200"]),
    "split unknown": (
        b'{"prompt": "a", "gold": "b", "split": "tain"}',
        "bad_split",
        ["did you mean 'train'"],
    ),
    "split a number": (
        b'{"prompt": "a", "gold": "b", "split": 1}',
        "bad_split",
        ["a number", "dev, test, train"],
    ),
    "invalid UTF-8": (b'{"prompt": "a\xff", "gold": "b"}', "not_utf8", ["byte 58"]),
    "NUL byte": (b'{"prompt": "a\0", "gold": "b"}', "bad_text", ["NUL", "byte 58"]),
    "escaped NUL": (b'{"prompt": "a", "gold": "b\\u0000"}', "bad_text", ["'gold'", "NUL", "position 1"]),
    "lone surrogate": (b'{"prompt": "a", "gold": "b\\ud83d"}', "bad_text", ["surrogate", "\\ud83d"]),
    "surrogate in meta": (b'{"prompt": "a", "gold": "b", "meta": {"k": "\\udc00"}}', "bad_text", ["meta.k"]),
    "surrogate in a name": (b'{"\\udc00": "a", "gold": "b"}', "missing_field", ["\\udc00"]),
    "nested deeply": (
        b'{"meta": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        "too_deep",
        ["nested too deeply"],
    ),
    "NaN": (b'{"prompt": "a", "gold": "b", "meta": {"s": NaN}}', "bad_number", ["NaN"]),
    "infinite": (b'{"prompt": "a", "gold": "b", "meta": {"s": 1e999}}', "bad_number", ["1e999"]),
    "integer past 64 bits": (
        b'{"prompt": "a", "gold": "b", "meta": {"n": 9223372036854775808}}',
        "bad_number",
        ["meta.n"],
    ),
    "integer of 5000 digits": (b'{"n": ' + b"9" * 5000 + b"}", "bad_number", ["digits"]),
    "10 MB line": (b'{"prompt": "a", "gold": "' + b"b" * 10_000_000 + b'"}', "too_long", ["--max-row-bytes"]),
}

BAD_CHATS = {
    "last turn not user": ([user("a"), assistant("b")], "bad_turns", ["end with a user turn"]),
    "only a system turn": ([system("a")], "bad_turns", ["the system's", "end with a user turn"]),
    "two system turns": ([system("a"), system("b"), user("c")], "bad_turns", ["turn 2 is a system turn"]),
    "late system turn": ([user("a"), system("b"), user("c")], "bad_turns", ["turn 2 is a system turn"]),
    "two user turns": ([user("a"), user("b")], "bad_turns", ["turns 1 and 2", "merge"]),
    "assistant first": ([assistant("a"), user("b")], "bad_turns", ["turn 1", "no user turn"]),
    "assistant after system": ([system("s"), assistant("a"), user("b")], "bad_turns", ["turn 2"]),
    "unknown role": ([{"role": "human", "content": "a"}], "bad_role", ["'human'", "system, user, assistant"]),
    "role a list": ([{"role": ["user"], "content": "a"}], "bad_role", ["turn 1"]),
    "no role": ([{"content": "a"}], "bad_role", ["missing"]),
    "no content": ([{"role": "user"}], "wrong_type", ["turn 1 of 'messages' is null"]),
    "content a list": ([{"role": "user", "content": [{"type": "text"}]}], "wrong_type", ["turn 1"]),
    "empty turn": ([user("a"), assistant(" "), user("b")], "empty", ["turn 2 of 'messages' is empty"]),
    "turns are texts": (["a", "b"], "wrong_type", ["begins with a string"]),
    "unknown ShareGPT role": ([{"from": "bot", "value": "a"}], "bad_role", ["'bot'", "human, gpt"]),
}


def check_bad_second_line(folder: Path, line: bytes, kind: str, said: list[str]) -> None:
    """The bad line between two good ones: refused with its line number; left out and counted on request."""
    before, after = (json.dumps({"prompt": f"Good {n}?", "gold": "Yes, it is."}).encode() for n in (1, 2))
    path = write(folder, before + b"\n" + line + b"\n" + after + b"\n")
    error = refusal(path)
    assert "1 of 3 rows cannot be used; line 2: " in str(error)
    assert "--skip-bad" in str(error)
    assert len(error.problems) == 1 and error.problems[0].startswith("line 2: ")
    for part in said:
        assert part in error.problems[0]
    corpus = read_corpus(path, skip_bad=True)
    assert [example.prompt_id.partition(":")[2] for example in corpus.examples] == ["line1", "line3"]
    assert [(problem.line, problem.kind) for problem in corpus.skipped] == [(2, kind)]
    assert corpus.counts == {kind: 1}


@pytest.mark.parametrize(("line", "kind", "said"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_refused_with_its_number_and_its_mend(tmp_path, line, kind, said):
    check_bad_second_line(tmp_path, line, kind, said)


@pytest.mark.parametrize(("chat", "kind", "said"), BAD_CHATS.values(), ids=BAD_CHATS)
def test_a_chat_that_no_template_renders_is_refused(tmp_path, chat, kind, said):
    line = json.dumps({"messages": chat, "gold": "b"}).encode()
    check_bad_second_line(tmp_path, line, kind, said)


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("dolly.jsonl", {"instruction": "a"}, "no 'response' (or output)"),
        ("dolly.jsonl", {"instruction": "a", "context": [1], "response": "b"}, "the context is a list"),
        ("hh.jsonl", {"chosen": "no marks", "rejected": "b"}, "must begin with 'Human:'"),
        (
            "hh.jsonl",
            {"chosen": "\n\nHuman: a\n\nAssistant:", "rejected": "b"},
            "the gold) of 'chosen' is empty",
        ),
        ("hh.jsonl", {"chosen": "\n\nHuman: a", "rejected": "b"}, "end with the assistant's, the gold"),
        ("hh.jsonl", {"chosen": "\n\nAssistant: a", "rejected": "b"}, "no turn before the gold"),
        ("preference.jsonl", {"prompt": "a", "chosen": [1], "rejected": "b"}, "'chosen' is a list"),
        ("preference.jsonl", {"chosen": "a", "rejected": "b"}, "no 'prompt'"),
        ("sharegpt.json", {"conversations": [{"from": "human", "value": "a"}]}, "ends with a user turn"),
        (
            "sharegpt.json",
            {"conversations": [{"from": "human", "value": "a"}], "chosen": 3},
            "must be a string",
        ),
        ("hotpot.json", {"question": "a", "answer": "b", "context": "c"}, "[title, sentences] pairs"),
        (
            "hotpot.json",
            {"question": "a", "answer": "b", "context": {"title": ["t"]}},
            "[title, sentences] pairs",
        ),
        ("self_instruct.jsonl", {"instruction": "a", "instances": []}, "'instances' is an empty list"),
    ],
)
def test_a_bad_row_of_each_format_says_what_is_wrong(tmp_path, name, row, said):
    path = write(tmp_path, json.dumps([*fixture_rows(name), row]), "rows.json")
    error = refusal(path)
    assert said in error.problems[0]
    assert len(error.problems) == 1


def fixture_rows(name: str) -> list[dict]:
    text = (FIXTURES / name).read_text()
    return json.loads(text) if name.endswith(".json") else list(map(json.loads, text.splitlines()))


def test_ids_must_be_unique_and_both_lines_are_named(tmp_path):
    path = write_rows(tmp_path, GOOD | {"id": 1}, {"prompt": "b", "gold": "c", "id": "1"})
    assert "line 2: id '1' is taken by line 1" in str(refusal(path))


def test_a_duplicate_is_left_out_and_counted_without_refusing_the_file(tmp_path):
    spaced = {"prompt": "What  is\ntea?", "gold": "A drink."}
    corpus = read_corpus(write_rows(tmp_path, GOOD, {"prompt": "b", "gold": "c"}, spaced))
    assert len(corpus.examples) == 2
    assert corpus.counts == {"duplicate": 1}
    assert str(corpus.skipped[0]) == "line 3: duplicate of line 1 (same prompt, same gold)"


def test_the_same_prompt_with_another_gold_is_another_example(tmp_path):
    corpus = read_corpus(write_rows(tmp_path, GOOD, GOOD | {"gold": "Leaves in water."}))
    assert len(corpus.examples) == 2
    assert corpus.examples[0].split == corpus.examples[1].split


def test_a_prompt_that_stands_in_two_splits_is_refused(tmp_path):
    path = write_rows(tmp_path, GOOD | {"split": "train"}, GOOD | {"split": "test"})
    assert "line 2: the prompt of line 1 (train) again, now in split test" in str(refusal(path))


def test_every_bad_row_is_listed_and_the_rest_imported_only_on_request():
    error = refusal(FIXTURES / "partly_bad.jsonl")
    assert "3 of 6 rows cannot be used; line 2: 'gold' is empty" in str(error)
    assert [problem.split(":")[0] for problem in error.problems] == ["line 2", "line 3", "line 4"]
    corpus = read_corpus(FIXTURES / "partly_bad.jsonl", skip_bad=True)
    assert prompts_and_golds(corpus) == [("One?", "1"), ("Five?", "5")]
    assert [problem.line for problem in corpus.skipped] == [2, 3, 4, 5]
    assert corpus.counts == {"empty": 1, "duplicate_id": 1, "not_json": 1, "duplicate": 1}


def test_a_file_without_one_good_row_is_refused_even_with_skip_bad(tmp_path):
    error = refusal(write_rows(tmp_path, {"prompt": "a"}, {"prompt": "b"}), skip_bad=True)
    assert "none of its 2 rows can be used; line 1: no 'gold'" in str(error)
    assert "--skip-bad" not in str(error)
    assert len(error.problems) == 2


# -------------------------------------------------------------------------------------------- bad files


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
    if os.access(path, os.R_OK):
        pytest.skip("this user (root?) may read every file")
    assert "Permission denied" in str(refusal(path))


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
        file.truncate(300 * 2**20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    corpus = read_corpus(path, skip_bad=True)
    assert corpus.counts == {"too_long": 1}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 2**10


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


# -------------------------------------------------------------------------------------- splits and names


def test_the_split_depends_on_the_prompt_and_not_on_file_order_or_id(tmp_path):
    rows = [{"id": n, "prompt": f"Question {n}?", "gold": "b"} for n in range(300)]
    first = read_corpus(write_rows(tmp_path, *rows), name="one")
    rows = [{"prompt": row["prompt"] + " ", "gold": "c"} for row in reversed(rows)]
    second = read_corpus(write_rows(tmp_path, *rows), name="two")
    by_prompt = {content_key(example.messages): example.split for example in first.examples}
    assert {content_key(example.messages): example.split for example in second.examples} == by_prompt
    shares = Counter(by_prompt.values())
    assert 210 < shares["train"] < 270 and 12 < shares["dev"] < 50 and 12 < shares["test"] < 50


EXPECTED_SPLITS = ["train"] * 6 + ["dev"] + ["train"] * 3 + ["dev", "train"]


def test_the_split_of_a_prompt_never_changes_between_versions():
    splits = [split_of((user(f"Question {n}?"),)) for n in range(12)]
    assert splits == EXPECTED_SPLITS


@pytest.mark.parametrize("split", SPLITS)
def test_a_fixed_split_overrides_the_rows_own(split):
    corpus = read_corpus(FIXTURES / "generic.jsonl", split=split)
    assert {example.split for example in corpus.examples} == {split}


def test_content_keys_tell_prompts_apart_but_not_their_white_space():
    assert content_key((user("a  b\n"),)) == content_key((user("a b"),))
    others = [(user("ab"),), (user("a"), user("b")), (system("a b"),), (user("A b"),)]
    assert len({content_key(messages) for messages in [(user("a b"),), *others]}) == 5


def test_a_data_set_s_id_names_its_content_and_how_it_was_read(tmp_path):
    path = write_rows(tmp_path, GOOD)
    first = read_corpus(path)
    assert read_corpus(path).dataset_id == read_corpus(path, format="generic").dataset_id == first.dataset_id
    others = [{"name": "other"}, {"split": "test"}, {"mapping": {"gold": "gold"}}]
    ids = {first.dataset_id, *(read_corpus(path, **options).dataset_id for options in others)}
    assert len(ids) == 4
    write_rows(tmp_path, GOOD, {"prompt": "b", "gold": "c"})
    assert read_corpus(path).dataset_id not in ids
    assert first.name == "rows" and first.license is None
    assert all(example.prompt_id == f"{first.dataset_id}:line1" for example in first.examples)


# ------------------------------------------------------------------------------------------------- fuzz

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


def reads_or_refuses(content: bytes, name: str, **options) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            corpus = read_corpus(write(Path(folder), content, name), skip_bad=True, **options)
        except DataError as error:
            assert str(error).isprintable()
            return
    for example in corpus.examples:
        assert example.gold.strip() and example.messages[-1]["role"] == "user" and example.split in SPLITS
        json.dumps([example.messages, example.meta], allow_nan=False, ensure_ascii=False).encode()


@given(st.binary(max_size=200), st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.parquet", "a"]))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_bytes_raise_nothing_but_a_data_error(content, name):
    reads_or_refuses(content, name)
    reads_or_refuses(b"[" + content, name)
    reads_or_refuses(b"prompt,gold\n" + content, name)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_damaged_parquet_file_raises_nothing_but_a_data_error(parquet_bytes, data):
    place = data.draw(st.integers(0, len(parquet_bytes) - 1))
    damaged = bytearray(parquet_bytes)
    damaged[place] ^= data.draw(st.integers(1, 255))
    reads_or_refuses(bytes(damaged), "a.parquet")


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
        reads_or_refuses(json.dumps(rows).encode(), "a.json", format=format)
    else:
        reads_or_refuses("\n".join(map(json.dumps, rows)).encode(), "a.jsonl", format=format)


# ------------------------------------------------------------------------------------------- real files


@needs_shared
@pytest.mark.parametrize(
    ("name", "format", "count", "counts"),
    [
        ("dolly_sample.jsonl", "instruction", 600, {}),
        ("hh_rlhf_harmless_benign_sample.jsonl", "hh-rlhf", 160, {}),
        ("hotpot_dev_distractor_sample.json", "hotpot", 24, {}),
        ("llamafactory_dpo_en_demo_sample.json", "sharegpt", 58, {"duplicate": 1}),
        ("self_instruct_seed_tasks.jsonl", "self-instruct", 175, {}),
    ],
)
def test_the_real_corpora_are_read_whole(name, format, count, counts):
    corpus = read_corpus(SHARED / name)
    assert (corpus.format, len(corpus.examples), corpus.counts) == (format, count, counts)
    assert len({example.prompt_id for example in corpus.examples}) == count
    assert {example.split for example in corpus.examples} == set(SPLITS)


@needs_shared
def test_the_real_dolly_rows_keep_instruction_context_and_response():
    rows = [json.loads(line) for line in (SHARED / "dolly_sample.jsonl").open(encoding="utf-8")]
    corpus = read_corpus(SHARED / "dolly_sample.jsonl")
    for row, example in zip(rows, corpus.examples, strict=True):
        parts = [row["instruction"], row["context"]] if row["context"] else [row["instruction"]]
        assert example.messages == (user("\n\n".join(parts)),)
        assert example.gold == row["response"]


@needs_shared
def test_the_real_transcripts_are_parted_at_their_marks_and_lose_nothing():
    path = SHARED / "hh_rlhf_harmless_benign_sample.jsonl"
    marks = {"user": "Human: ", "assistant": "Assistant: "}
    for line, example in zip(
        path.open(encoding="utf-8", newline="\n"), read_corpus(path).examples, strict=True
    ):
        turns = [*example.messages, assistant(example.gold)]
        rebuilt = "".join(f"\n\n{marks[turn['role']]}{turn['content']}" for turn in turns)
        assert "".join(rebuilt.split()) == "".join(json.loads(line)["chosen"].split())
        assert "rejected" in example.meta
    assert Counter(len(example.messages) for example in read_corpus(path).examples).keys() <= {1, 3, 5, 7, 9}


@needs_shared
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ifeval_input_data.jsonl", "IFEval, a benchmark: for evaluation only"),
        ("mt_bench_question.jsonl", "MT-Bench, a benchmark: for evaluation only"),
        ("mt_bench_reference_answer_gpt-4.jsonl", "a benchmark: for evaluation only"),
        ("icai_synthetic_data_aligned_vqvtb.csv", "no 'prompt' (or messages); the row has: text_a, text_b"),
        ("icai_synthetic_data_orthogonal_adcbg.csv", "no 'prompt'"),
        ("icai_example_ap.json", "line 1: not JSON"),
        ("principles/morlaif_principles.jsonl", "the row has: name, principle"),
    ],
)
def test_the_real_files_without_golds_are_refused_with_the_reason(name, said):
    assert said in str(refusal(SHARED / name, skip_bad=True))
