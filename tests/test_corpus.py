"""Corpora: every format is read, and every prompt lands in its split under its own id."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from lpd_core.corpus import SPLITS, content_key, read_corpus, split_of
from tests.corpus_files import (
    FIXTURES,
    GOOD,
    assistant,
    fixture_rows,
    prompts_and_golds,
    system,
    user,
    write,
    write_rows,
)


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
