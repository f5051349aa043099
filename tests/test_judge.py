"""Judges: prompts, a parser that invents nothing, kept verdicts, and judges that are biased, tied, failing or mad."""

from __future__ import annotations

import math
import threading

import pytest

from lpd_core.config import Sampling
from lpd_core.errors import ConfigError
from lpd_core.judge import (
    Judge,
    Pairing,
    Question,
    Rated,
    VerdictCache,
    load_prompts,
    pairwise_judgements,
    pointwise_judgements,
    read_choice,
    read_rating,
    summarise_pairs,
)
from lpd_core.parts import ScriptedSampler
from lpd_core.types import Generation

GREEDY = Sampling(temperature=0.0, max_tokens=64)
PROMPTS = load_prompts()
ASKED = ({"role": "user", "content": "Name a river."},)


def judge_of(script, cache=None, retries=2, sampling=GREEDY):
    sampler = ScriptedSampler(script)
    return Judge("scripted:test", lambda: sampler, sampling, retries, cache), sampler


def pairings(count: int) -> list[Pairing]:
    """Pairings in which a is the longer, and the better, in every second one."""
    long, short = "The Danube, which is long.", "A river."
    return [
        Pairing(
            f"p{n}", ({"role": "user", "content": f"Name river {n}."},), *((long, short)[:: 1 - 2 * (n % 2)])
        )
        for n in range(count)
    ]


def shown(messages) -> tuple[str, str]:
    """Answers A and B as the judge's prompt shows them."""
    text = messages[-1]["content"]
    return tuple(text.split(f"[Answer {side}]\n")[1].split(f"\n[End of answer {side}]")[0] for side in "AB")


def fair(messages, seed):
    first, second = shown(messages)
    return "A is better. [[A]]" if len(first) > len(second) else "So, B.\n[[B]]"


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("Good. Rating: [[7]]", 7),
        ("[[ 7/10 ]] indeed, [[7]]", 7),
        ("Fine.\n\nRating: 8.5", 8.5),
        ("9", 9),
        ("**Score: 6/10**", 6),
        ("Rating: [[7]] or rather [[8]]", None),
        ("Rating: [[0]]", None),
        ("Rating: [[11]]", None),
        ("It has 5 errors", None),
        ("I would say seven", None),
        ("Rating: 7\nbecause it is good", None),
        ("", None),
        ("[[A]]", None),
    ],
)
def test_a_rating_is_read_only_where_it_is_plain(text, rating):
    assert read_rating(text) == rating


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("A is fuller. [[A]]", "first"),
        ("[[b]]", "second"),
        ("Equal.\n[[C]]", "tie"),
        ("Verdict: tie", "tie"),
        ("Because of that:\nB", "second"),
        ("[[A]] ... no, [[B]]", None),
        ("A is better", None),
        ("Both answers are good.", None),
        ("", None),
        ("[[D]]", None),
    ],
)
def test_a_choice_is_read_only_where_it_is_plain(text, choice):
    assert read_choice(text) == choice


def test_prompts_hold_the_texts_as_they_are_and_the_reference_where_there_is_one():
    rated = PROMPTS.rate(ASKED, "{reference} {rubric}", "The Nile")[0]["content"]
    assert (
        "{reference} {rubric}" in rated
        and "[Reference answer]\nThe Nile" in rated
        and PROMPTS.rubric in rated
    )
    assert "Reference answer" not in PROMPTS.rate(ASKED, "The Nile", None)[0]["content"]
    chat = (*ASKED, {"role": "assistant", "content": "Rhine"}, {"role": "user", "content": "Another."})
    assert (
        "User: Name a river.\n\nAssistant: Rhine\n\nUser: Another."
        in PROMPTS.rate(chat, "x", None)[0]["content"]
    )


def test_a_rubric_of_one_s_own_changes_the_prompt_and_its_digest(tmp_path):
    path = tmp_path / "rubric.txt"
    path.write_text("Only brevity counts.")
    assert "Only brevity counts." in load_prompts(str(path)).compare(ASKED, "a", "b")[0]["content"]
    assert load_prompts(str(path)).digest != PROMPTS.digest
    path.write_text(" ")
    with pytest.raises(ConfigError, match="is empty"):
        load_prompts(str(path))
    with pytest.raises(ConfigError, match="cannot read the judge's rubric"):
        load_prompts(str(tmp_path / "none.txt"))


def test_a_fair_judge_agrees_with_itself_in_both_orders():
    judge, sampler = judge_of(fair)
    judgements = pairwise_judgements(judge, PROMPTS, pairings(20))
    assert len(sampler.asked) == 40
    found = summarise_pairs(judgements)
    assert (found.wins, found.losses, found.ties, found.unjudged) == (10, 10, 0, 0)
    assert (found.agreement, found.order_bias, found.win_rate.mean, found.win_rate.n) == (1.0, 0.0, 0.5, 20)
    assert {j.outcome for j in judgements[::2]} == {"a"}
    assert all(v.judge == "scripted:test" and len(v.prompt_digest) == 16 for v in judgements[0].forward)


def test_a_judge_that_likes_the_first_position_decides_nothing_and_its_bias_is_measured():
    judge, _ = judge_of(lambda messages, seed: "[[A]]")
    found = summarise_pairs(pairwise_judgements(judge, PROMPTS, pairings(20)))
    assert (found.wins, found.losses, found.ties) == (0, 0, 20)
    assert (found.agreement, found.order_bias) == (0.0, 0.5)
    assert found.win_rate.mean == 0.5


def test_a_judge_that_always_ties_is_seen_to_tie():
    judge, _ = judge_of(lambda messages, seed: "Both are fine. [[C]]")
    found = summarise_pairs(pairwise_judgements(judge, PROMPTS, pairings(20)))
    assert (found.ties, found.tied_verdicts, found.verdicts, found.agreement) == (20, 40, 40, 1.0)
    assert math.isnan(found.order_bias), "there is no decided verdict to measure it on"


def test_a_judge_that_fails_one_time_in_five_is_asked_again_and_what_stays_open_is_counted():
    failing = {f"Name river {n}." for n in range(0, 20, 5)}

    def script(messages, seed):
        return (
            "No idea." if any(text in messages[-1]["content"] for text in failing) else fair(messages, seed)
        )

    judge, sampler = judge_of(script, retries=2)
    judgements = pairwise_judgements(judge, PROMPTS, pairings(20))
    found = summarise_pairs(judgements)
    assert (found.unjudged, found.failed_verdicts, found.win_rate.n) == (4, 8, 16)
    assert len(sampler.asked) == 32 + 8 * 3
    assert [j.key for j in judgements if j.outcome is None] == ["p0", "p5", "p10", "p15"]
    assert all(v.attempts == 3 and v.said == "No idea." for v in judgements[0].forward)
    sometimes, _ = judge_of(lambda m, seed: "?" if seed % 5 == 0 else fair(m, seed), retries=5)
    assert summarise_pairs(pairwise_judgements(sometimes, PROMPTS, pairings(20))).failed_verdicts == 0


@pytest.mark.parametrize(
    "garbage", ["", "A B C", "lorem [[x]] ipsum", "[[A]] [[B]]", "10 / 10 / 10", "\0\ud800"]
)
def test_of_garbage_no_verdict_is_invented(garbage):
    judge, _ = judge_of(lambda messages, seed: garbage)
    found = summarise_pairs(pairwise_judgements(judge, PROMPTS, pairings(6)))
    assert (found.wins, found.losses, found.ties, found.unjudged) == (0, 0, 0, 6)
    assert math.isnan(found.win_rate.mean) and found.win_rate.n == 0
    ratings = pointwise_judgements(judge, PROMPTS, [Rated(ASKED, "Rhine", "Nile")], votes=3)
    assert (ratings[0].score, ratings[0].failures) == (None, 3)


def test_votes_are_asked_with_seeds_of_their_own_and_their_mean_is_the_rating():
    judge, sampler = judge_of(
        lambda messages, seed: f"[[{1 + seed % 10}]]", sampling=Sampling(temperature=1.0)
    )
    (rating,) = pointwise_judgements(judge, PROMPTS, [Rated(ASKED, "Rhine", "Nile")], votes=8)
    assert len({seed for _, seed in sampler.asked}) == 8
    assert rating.mean == sum(1 + seed % 10 for _, seed in sampler.asked) / 8
    assert rating.score == pytest.approx((rating.mean - 1) / 9)
    (judged,) = pairwise_judgements(
        judge_of(lambda m, seed: "[[A]]" if seed % 2 else "[[B]]")[0], PROMPTS, pairings(1), votes=16
    )
    forward, backward = judged.outcomes
    expected = (forward.count("a") / 16 + backward.count("a") / 16) / 2
    assert judged.share == pytest.approx(expected) and 0 < expected < 1


def test_one_order_only_is_possible_and_says_nothing_of_order_bias():
    judge, sampler = judge_of(lambda messages, seed: "[[A]]")
    judgements = pairwise_judgements(judge, PROMPTS, pairings(4), both_orders=False)
    assert len(sampler.asked) == 4 and {j.outcome for j in judgements} == {"a"}
    found = summarise_pairs(judgements)
    assert math.isnan(found.order_bias) and math.isnan(found.agreement)


def test_kept_verdicts_are_not_asked_for_again_also_unreadable_ones(tmp_path):
    words = {"p0": "[[7]]", "p1": "no"}

    def script(messages, seed):
        return next(said for key, said in words.items() if key in messages[-1]["content"])

    items = [Rated(ASKED, "p0"), Rated(ASKED, "p1"), Rated(ASKED, "p0")]
    judge, sampler = judge_of(script, VerdictCache(tmp_path))
    first = pointwise_judgements(judge, PROMPTS, items)
    assert [rating.mean for rating in first] == [7, None, 7] and len(sampler.asked) == 1 + 3
    silent = Judge("scripted:test", None, GREEDY, 2, VerdictCache(tmp_path))
    assert pointwise_judgements(silent, PROMPTS, items) == first
    for other in (
        Judge("another", None, GREEDY, 2, VerdictCache(tmp_path)),
        Judge("scripted:test", None, Sampling(temperature=1.0), 2, VerdictCache(tmp_path)),
    ):
        (unknown,) = pointwise_judgements(other, PROMPTS, items[:1])
        assert unknown.mean is None and "not kept" in unknown.verdicts[0].error


def test_a_request_that_failed_is_tried_again_and_not_kept(tmp_path):
    class Failing:
        calls = 0

        def sample(self, requests, sampling):
            self.calls += 1
            return [Generation("", "error", 0, 0, "connection cut") for _ in requests]

    sampler = Failing()
    judge = Judge("server", lambda: sampler, GREEDY, 2, VerdictCache(tmp_path))
    (verdict,) = judge.ask([Question(ASKED, "rating")])
    assert (verdict.value, verdict.error, sampler.calls) == (None, "connection cut", 3)
    judge, _ = judge_of(lambda messages, seed: "[[4]]", VerdictCache(tmp_path))
    judge.name = "server"
    assert judge.ask([Question(ASKED, "rating")])[0].value == "4"


def test_several_judges_write_to_one_file_at_once(tmp_path):
    def work(number):
        judge, _ = judge_of(lambda messages, seed: "[[5]]", VerdictCache(tmp_path))
        pointwise_judgements(
            judge, PROMPTS, [Rated(ASKED, f"text {n % 40}") for n in range(number, number + 40)]
        )

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    silent = Judge("scripted:test", None, GREEDY, 2, VerdictCache(tmp_path))
    ratings = pointwise_judgements(silent, PROMPTS, [Rated(ASKED, f"text {n}") for n in range(40)])
    assert {rating.mean for rating in ratings} == {5}
