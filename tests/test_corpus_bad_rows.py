"""Every bad row is named with its line and its mend; the others are imported on request only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lpd_core.corpus import read_corpus
from tests.corpus_files import (
    FIXTURES,
    GOOD,
    assistant,
    fixture_rows,
    prompts_and_golds,
    refusal,
    system,
    user,
    write,
    write_rows,
)

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
