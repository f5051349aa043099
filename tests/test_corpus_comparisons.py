"""Corpora in which responses were compared, TL;DR, and benchmarks as evaluation data."""

from __future__ import annotations

import pytest

from lpd_core.corpus import Limits, prompts_as_benchmark, read_benchmark, read_corpus
from lpd_core.errors import DataError
from tests.corpus_files import FIXTURES, prompts_and_golds, refusal, user, write_rows


def test_the_best_scored_completion_of_ultrafeedback_is_the_gold():
    corpus = read_corpus(FIXTURES / "ultrafeedback.jsonl")
    assert corpus.format == "ultrafeedback"
    assert prompts_and_golds(corpus) == [
        ("Name a planet.", "Mars, the fourth from the sun."),
        ("Say yes.", "Yes."),
    ]
    first, second = corpus.examples
    assert first.meta == {"source": "sharegpt", "score": 8.5, "rejected": "Pluto.", "model": "b"}
    assert second.meta == {"source": "flan", "score": 4.5, "model": "a"}


def test_binarized_ultrafeedback_gives_the_chosen_reply_once():
    corpus = read_corpus(FIXTURES / "ultrafeedback_binarized.jsonl")
    (example,) = corpus.examples
    assert corpus.format == "preference"
    assert (example.messages, example.gold) == ((user("Name a planet."),), "Mars.")
    assert example.meta == {"rejected": "Pluto.", "score_chosen": 8.5, "score_rejected": 3.0}


def test_a_tldr_post_is_headed_as_openai_heads_it():
    corpus = read_corpus(FIXTURES / "tldr.jsonl")
    assert corpus.format == "tldr"
    assert prompts_and_golds(corpus) == [
        (
            "SUBREDDIT: r/relationships\n\nTITLE: He took my mug\n\n"
            "POST: My flatmate took my mug.\nI want it back.\n\nTL;DR:",
            "Flatmate has my mug.",
        ),
        ("SUBREDDIT: r/tifu\n\nPOST: I fell off my chair.\n\nTL;DR:", "Fell."),
    ]


def test_the_chosen_summary_is_the_gold_and_the_source_s_own_split_is_not_ours():
    corpus = read_corpus(FIXTURES / "tldr_comparisons.jsonl")
    post, article = corpus.examples
    assert corpus.format == "tldr-comparison"
    assert post.gold == "Flatmate has my mug." and post.meta["rejected"] == "A mug."
    assert article.messages[0]["content"] == "TITLE: Rain\n\nPOST: It rained.\n\nTL;DR:"
    assert article.gold == "Rain fell."


def test_completions_are_golds_as_text_and_as_chat():
    corpus = read_corpus(FIXTURES / "tldr_completion.jsonl")
    assert prompts_and_golds(corpus)[0][1] == " Fell."
    assert prompts_and_golds(corpus)[1] == ("Hello", "Hi.")


def test_icai_pairs_give_the_preferred_text():
    corpus = read_corpus(FIXTURES / "icai.csv")
    assert (corpus.format, prompts_and_golds(corpus)) == ("icai", [("Name a river.", "The Rhine.")])
    assert corpus.examples[0].meta == {"rejected": "The Alps."}


def test_annotated_pairs_follow_their_default_annotator():
    error = refusal(FIXTURES / "annotated_pairs.json")
    assert "comparison 2: the default annotator prefers neither response" in str(error)
    corpus = read_corpus(FIXTURES / "annotated_pairs.json", skip_bad=True)
    assert (corpus.format, prompts_and_golds(corpus)) == ("annotated-pairs", [("Name a lake.", "Como.")])
    assert corpus.examples[0].prompt_id.endswith(":c1") and corpus.counts == {"no_preference": 1}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"instruction": "a", "completions": [{"response": "b"}]}, "no completion has a response with an"),
        ({"instruction": "a", "completions": ["b"]}, "completion 1 is a string"),
        ({"info": {"post": "a"}, "summaries": [{"text": "b"}], "choice": 1}, "'choice' must number one"),
        ({"post": "a", "summary": ""}, "'summary' is empty"),
        ({"text_a": "a", "text_b": "b", "preferred_text": "text_a"}, "no 'prompt' (or input)"),
        ({"text_a": "a", "text_b": "b", "preferred_text": "a"}, "must be text_a or text_b"),
    ],
)
def test_a_damaged_comparison_says_what_is_wrong(tmp_path, row, said):
    assert said in str(refusal(write_rows(tmp_path, row)))


@pytest.mark.parametrize(
    "name", ["ifeval.jsonl", "mt_bench.jsonl", "mt_bench_answers.jsonl", "alpaca_eval.json"]
)
def test_a_benchmark_is_refused_for_training_with_the_way_to_import_it(name):
    assert "a benchmark: for evaluation only, never trained on; import it with --eval" in str(
        refusal(FIXTURES / name, skip_bad=True)
    )


def test_benchmarks_are_read_as_evaluation_data_in_the_test_split():
    ifeval = read_corpus(FIXTURES / "ifeval.jsonl", evaluation=True)
    (example,) = ifeval.examples
    assert (ifeval.format, example.gold, example.split) == ("ifeval", "", "test")
    assert example.prompt_id.endswith(":1000")
    assert example.meta == {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    poem, second = read_corpus(FIXTURES / "mt_bench.jsonl", evaluation=True).examples
    assert (poem.messages, poem.gold) == ((user("Write a poem."),), "")
    assert second.gold == "You are." and second.meta["reference"] == ["You are.", "Not you."]
    assert poem.meta["turns"] == ["Write a poem.", "Make it rhyme."] and second.prompt_id.endswith(":101")
    (tree,) = read_corpus(FIXTURES / "alpaca_eval.json", evaluation=True).examples
    assert (tree.gold, tree.meta["generator"], tree.split) == ("An oak.", "davinci", "test")


def test_reference_answers_come_in_with_their_questions():
    answers = FIXTURES / "mt_bench_answers.jsonl"
    assert "import question.jsonl with --references" in str(refusal(answers, evaluation=True))
    corpus = read_corpus(FIXTURES / "mt_bench.jsonl", evaluation=True, references=answers)
    assert corpus.examples[0].gold == "A poem."
    assert corpus.examples[0].meta["reference"] == ["A poem.", "It rhymes."]
    assert corpus.dataset_id != read_corpus(FIXTURES / "mt_bench.jsonl", evaluation=True).dataset_id
    with pytest.raises(DataError, match="no question_id with choices and turns"):
        read_corpus(FIXTURES / "mt_bench.jsonl", evaluation=True, references=FIXTURES / "dolly.jsonl")


def test_evaluation_data_is_test_data_and_nothing_else():
    with pytest.raises(DataError, match="evaluation data is always test"):
        read_corpus(FIXTURES / "ifeval.jsonl", evaluation=True, split="train")
    with pytest.raises(DataError, match="is a benchmark's: for evaluation only"):
        read_corpus(FIXTURES / "ifeval.jsonl", format="ifeval")
    own = read_corpus(FIXTURES / "dolly.jsonl", evaluation=True)
    assert {example.split for example in own.examples} == {"test"}


def test_an_imported_benchmark_is_compared_like_its_file():
    corpus = read_corpus(FIXTURES / "mt_bench.jsonl", evaluation=True, name="MT-Bench")
    assert prompts_as_benchmark("MT-Bench", corpus.examples) == read_benchmark(FIXTURES / "mt_bench.jsonl")


def test_rows_outside_the_limits_are_left_out_and_counted(tmp_path):
    rows = [{"prompt": "word " * n, "gold": "g" * n} for n in range(1, 11)]
    path = write_rows(tmp_path, *rows, {"prompt": "x", "gold": "y" * 100}, rows[4])
    corpus = read_corpus(path, limits=Limits(prompt_words=(3, 8), gold_characters=(0, 7)))
    assert [len(example.gold) for example in corpus.examples] == [3, 4, 5, 6, 7]
    assert corpus.counts == {
        "prompt_too_short": 3,
        "prompt_too_long": 2,
        "gold_too_long": 1,
        "duplicate": 1,
    }
    assert [problem.line for problem in corpus.skipped] == [1, 2, 8, 9, 10, 11, 12]
    assert "the prompt has 1 words, allowed are 3 to 8" in str(corpus.skipped[0])
    assert corpus.dataset_id != read_corpus(path).dataset_id
    assert "every row is left out (10 prompt_too_short, 1 gold_too_short, 1 duplicate)" in str(
        refusal(path, limits=Limits(prompt_words=(10, 10), gold_words=(5, 9)))
    )


def test_contaminated_rows_are_left_out_and_counted(tmp_path):
    path = write_rows(
        tmp_path, {"prompt": "write a poem now", "gold": "No."}, {"prompt": "Fine?", "gold": "Yes."}
    )
    corpus = read_corpus(path, benchmarks=read_benchmark(FIXTURES / "mt_bench.jsonl"))
    assert prompts_and_golds(corpus) == [("write a poem now", "No."), ("Fine?", "Yes.")]
    rhyme = write_rows(
        tmp_path, {"prompt": "Make it rhyme!", "gold": "No."}, {"prompt": "Fine?", "gold": "Yes."}
    )
    corpus = read_corpus(rhyme, benchmarks=read_benchmark(FIXTURES / "mt_bench.jsonl"))
    assert prompts_and_golds(corpus) == [("Fine?", "Yes.")] and corpus.counts == {"contaminated": 1}
    assert "line 1: the prompt of MT-Bench 81: make it rhyme" in str(corpus.skipped[0])
