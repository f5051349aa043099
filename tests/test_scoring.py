"""The E-step's arithmetic: Rouge-L as rouge_score has it, cleaning, ids, leaks, judging and selecting."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from lpd_core.config import EStepConfig
from lpd_core.scoring import (
    RougeL,
    clean_principle,
    judge,
    judge_principle,
    leaks_gold,
    normalise_principle,
    principle_id,
    select,
)
from lpd_core.types import Candidate, Draft, Example

WORDS = [
    "the",
    "running",
    "dogs",
    "Relational",
    "agencies",
    "don't",
    "42nd",
    "naïve",
    "İst",
    "\u212a",
    "ΑΣ",
    "hopefully",
]
TEXTS = [
    "",
    " \n",
    "日本語のみ",
    "The quick brown fox jumps over the lazy dog.",
    "A quick brown dog jumps on the log, doesn't it?",
    "İIıi Kelvin K ſharp ß ﬁ",
    "under_score snake_case 3.14 1,000 a-b--c",
    "generalizations generalization generally dying died dies sky skies",
]


@pytest.mark.parametrize("stemmer", [False, True])
def test_rouge_l_equals_the_rouge_score_package(stemmer):
    reference = RougeScorer(["rougeL"], use_stemmer=stemmer)
    pairs = [(a, b) for a in TEXTS for b in TEXTS]
    scores = RougeL(stemmer).score(pairs)
    for (response, gold), score in zip(pairs, scores, strict=True):
        assert score == pytest.approx(reference.score(gold, response)["rougeL"].fmeasure, abs=1e-9)


mixed_text = st.one_of(
    st.text(),
    st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join),
    st.text(alphabet=string.ascii_letters + string.digits + " .,_-éßİK\n", max_size=80),
)


@pytest.mark.parametrize("stemmer", [False, True])
def test_rouge_l_equals_the_rouge_score_package_on_any_text(stemmer):
    reference, ours = RougeScorer(["rougeL"], use_stemmer=stemmer), RougeL(stemmer)

    @given(mixed_text, mixed_text)
    def agree(response, gold):
        [score] = ours.score([(response, gold)])
        assert score == pytest.approx(reference.score(gold, response)["rougeL"].fmeasure, abs=1e-9)

    agree()


def test_rouge_l_is_zero_where_a_side_has_no_words_and_one_for_equal_texts():
    assert RougeL(True).score([("", "gold"), ("a", ""), ("", ""), ("so it is", "So it is!")]) == [0, 0, 0, 1]


def test_a_full_vocabulary_is_begun_anew_without_changing_scores(monkeypatch):
    monkeypatch.setattr("lpd_core.scoring._VOCABULARY_LIMIT", 3)
    scorer = RougeL(True)
    pair = ("one two three four five", "one two six four")
    assert [scorer.score([pair]) for _ in range(3)] == [[pytest.approx(6 / 9)]] * 3


@pytest.mark.parametrize(
    ("written", "principle"),
    [
        ("Be concise.", "Be concise."),
        ("\n\n  Principle: Be concise.\nAnd more", "Be concise."),
        ("**Principle:** Be concise.", "Be concise."),
        ('1. "Principle: Be concise."', "Be concise."),
        ("- “Be concise.”", "Be concise."),
        ("Principle 2:\n * Be concise.", "Be concise."),
        ("\n-\n\n> Be concise.", "Be concise."),
        ('Say "please" and "thanks"', 'Say "please" and "thanks"'),
        ('"Please" and "thanks"', '"Please" and "thanks"'),
        ('"Be concise.', "Be concise."),
        ("Don't say 'no'", "Don't say 'no'"),
        ("Principle:", ""),
        ("", ""),
    ],
)
def test_a_principle_is_the_first_line_that_says_something(written, principle):
    assert clean_principle(written) == principle


@given(st.text(alphabet="Pprinciple: \"'“”*-1.)\n\tab>#`", max_size=40))
def test_cleaning_a_clean_principle_changes_nothing(text):
    once = clean_principle(text)
    assert clean_principle(once) == once
    assert once == once.strip() and "\n" not in once


def test_principles_that_differ_in_case_space_and_final_punctuation_are_the_same():
    same = ["Be concise", "be  concise.", " BE CONCISE ! ", "Be\tconcise…"]
    assert len({principle_id(text) for text in same}) == 1
    assert principle_id("Be concise") != principle_id("Be concise, please")
    assert len(principle_id("")) == 16


@given(st.text())
def test_normalising_twice_is_normalising_once(text):
    once = normalise_principle(text)
    assert normalise_principle(once) == once


GOLD = "Check the boiling point of water at sea level before you start cooking the rice"


def test_a_principle_that_quotes_the_gold_leaks():
    z = "Always check the BOILING point, of water at sea level!"
    assert leaks_gold(z, GOLD, ["how do I cook rice?", "no idea"], 8)
    assert not leaks_gold(z, GOLD, ["how do I cook rice?", "no idea"], 10)


def test_a_quotation_of_what_the_prompt_or_draft_says_too_is_no_leak():
    z = "Check the boiling point of water at sea level"
    assert not leaks_gold(z, GOLD, [f"Why should I {z.lower()}?", ""], 8)
    assert not leaks_gold(z, GOLD, ["", z], 8)


def test_the_leak_guard_is_off_at_zero_words():
    assert not leaks_gold(GOLD, GOLD, [], 0)


DRAFT = Draft("p", "a draft", 0.4, "stop", 2)
EXAMPLE = Example("d", "p", ({"role": "user", "content": "how do I cook rice?"},), GOLD, "train")
CONFIG = EStepConfig(max_principle_words=12)


def candidate(sample=0, principle="Be precise.", response="better", score=0.6, status="accepted"):
    return Candidate("p", sample, principle, None, response, score, None, status, False, None, 3)


@pytest.mark.parametrize(
    ("changes", "proposed", "refined", "status"),
    [
        ({}, "stop", "stop", "accepted"),
        ({}, "length", "stop", "accepted"),
        ({"principle": ""}, "error", "stop", "failed"),
        ({"principle": ""}, "overlong", "stop", "too_long"),
        ({"principle": ""}, "stop", "stop", "unparsable"),
        ({"principle": "12 !?"}, "stop", "stop", "unparsable"),
        ({"principle": "be " * 13}, "stop", "stop", "too_long"),
        ({"principle": "Check the boiling point of water at sea level"}, "stop", "stop", "leaks_gold"),
        ({"response": ""}, "stop", "error", "failed"),
        ({}, "stop", "overlong", "too_long"),
        ({"response": " \n"}, "stop", "stop", "empty"),
        ({}, "stop", "length", "too_long"),
        ({"score": None}, "stop", "stop", "unscored"),
        ({"score": 0.4}, "stop", "stop", "no_gain"),
        ({"score": 0.1}, "stop", "stop", "no_gain"),
    ],
)
def test_a_candidate_is_judged_by_the_first_reason_that_applies(changes, proposed, refined, status):
    judged = judge(candidate(**changes), proposed, refined, DRAFT, EXAMPLE, CONFIG)
    assert judged.status == status
    reason = judge_principle(judged.principle, proposed, DRAFT, EXAMPLE, CONFIG)
    assert reason in (None, status)


def test_the_gain_is_the_score_above_the_draft_and_unknown_without_either_score():
    assert judge(candidate(), "stop", "stop", DRAFT, EXAMPLE, CONFIG).gain == pytest.approx(0.2)
    assert judge(candidate(score=None), "stop", "stop", DRAFT, EXAMPLE, CONFIG).gain is None
    unscored = Draft("p", "a draft", None, "stop", 2)
    assert judge(candidate(), "stop", "stop", unscored, EXAMPLE, CONFIG).status == "unscored"


def test_a_gain_must_exceed_the_margin():
    config = EStepConfig(margin=0.25)
    draft = Draft("p", "a draft", 0.5, "stop", 2)
    assert judge(candidate(score=0.75), "stop", "stop", draft, EXAMPLE, config).status == "no_gain"
    assert judge(candidate(score=0.76), "stop", "stop", draft, EXAMPLE, config).status == "accepted"


def test_the_best_accepted_candidate_is_selected_and_the_first_at_a_tie():
    judged = [
        candidate(0, score=0.5),
        candidate(1, score=0.9, status="leaks_gold"),
        candidate(3, score=0.8),
        candidate(2, score=0.8),
    ]
    chosen = select(judged, keep=1)
    assert [c.status for c in chosen] == ["not_best", "leaks_gold", "not_best", "accepted"]
    assert [c.sample for c in chosen if c.selected] == [2]
    assert [c.sample for c in select(judged, keep=2) if c.selected] == [3, 2]


def test_nothing_is_selected_where_nothing_was_accepted():
    assert not any(c.selected for c in select([candidate(status="no_gain")], keep=4))
    assert select([], keep=1) == []
