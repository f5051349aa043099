"""The similarities f beside Rouge-L, as parts, in the configuration and through a whole run."""

from __future__ import annotations

import pytest
from conftest import run_inline

from lpd_core import parts as engine_parts
from lpd_core.build import build_parts, build_scorer
from lpd_core.config import parse_config
from lpd_core.errors import ConfigError
from lpd_core.invariants import check_invariants, run_evidence
from lpd_core.scorers.embedding import EmbeddingScorer
from lpd_core.scorers.mixture import MixtureScorer
from lpd_core.scoring import RougeL
from lpd_core.types import Pair

ASKED = ({"role": "user", "content": "Tell me of the river"},)


def by_words(messages, seed):
    """A judge that rates, or prefers, by the words shared with the reference, or by length."""
    text = messages[-1]["content"]
    if "[Answer A]" in text:
        first, second = (text.split(f"[Answer {side}]\n")[1].split("\n[End")[0] for side in "AB")
        return "[[C]]" if len(first) == len(second) else "[[A]]" if len(first) > len(second) else "[[B]]"
    reference = set(text.split("[Reference answer]\n")[1].split("\n[End")[0].split())
    answer = set(text.split("[Answer to rate]\n")[1].split("\n[End")[0].split())
    return f"Rating: [[{1 + round(9 * len(answer & reference) / max(1, len(reference)))}]]"


@pytest.fixture
def scripted_judge(monkeypatch):
    """The judge of the configuration `judge()`, as a script; the list counts what it was asked."""
    asked = []

    def script(messages, seed):
        asked.append(messages)
        return by_words(messages, seed)

    monkeypatch.setitem(engine_parts.SCRIPTS, "by_words", script)
    return asked


def judge(**settings) -> dict:
    return {"kind": "judge", "judge": {"sampler": {"kind": "scripted", "script": "by_words"}, **settings}}


def test_the_embedding_scorer_is_the_cosine_mapped_to_0_and_1():
    import numpy as np

    class Compass:
        def embed(self, texts):
            places = {"north": (0, 1), "south": (0, -1), "east": (1, 0)}
            return np.array([places[text] for text in texts], dtype=np.float32)

    scorer = EmbeddingScorer(Compass)
    pairs = [Pair("north", "north"), Pair("north", "east"), Pair("north", "south"), Pair(" ", "north")]
    assert scorer.score(pairs) == [1.0, 0.5, 0.0, 0.0]
    assert scorer.score([]) == []


def test_the_configured_embedder_scores_likeness(tmp_path):
    config = parse_config({"scoring": {"kind": "embedding", "embedder": "hash"}})
    same, near, far = build_scorer(config, tmp_path).score(
        [
            Pair("the river is long", "the river is long"),
            Pair("the river is wide", "the river is long"),
            Pair("zebra", "the river is long"),
        ]
    )
    assert same == pytest.approx(1.0) and same > near > far


def test_a_mixture_is_the_weighted_mean_and_unscored_where_a_part_is():
    class Half:
        def score(self, pairs):
            return [0.5 if pair.response else None for pair in pairs]

    mixture = MixtureScorer(((1.0, RougeL(True)), (3.0, Half())))
    assert mixture.score([Pair("a river", "a river"), Pair("", "a river")]) == [(1.0 + 3 * 0.5) / 4, None]


def test_a_judge_scores_between_0_and_1_with_the_prompt_in_sight(tmp_path, scripted_judge):
    pairs = [Pair("long and wide", "long and wide", ASKED), Pair("short", "long and wide", ASKED)]
    config = parse_config({"scoring": judge()})
    assert build_scorer(config, tmp_path).score(pairs) == [1.0, 0.0]
    assert all("Tell me of the river" in messages[-1]["content"] for messages in scripted_judge)
    config = parse_config({"scoring": judge(mode="pairwise")})
    pairs = [
        Pair("long and wide and more", "long", ASKED),
        Pair("same", "much longer", ASKED),
        Pair("abcd", "efgh"),
    ]
    assert build_scorer(config, tmp_path).score(pairs) == [1.0, 0.0, 0.5]


def test_an_unreadable_judge_leaves_unscored_and_never_zero(tmp_path, monkeypatch):
    monkeypatch.setitem(engine_parts.SCRIPTS, "by_words", lambda messages, seed: "Hm.")
    for mode in ("pointwise", "pairwise"):
        scorer = build_scorer(parse_config({"scoring": judge(mode=mode)}), tmp_path)
        assert scorer.score([Pair("a", "b", ASKED), Pair(" ", "b", ASKED)]) == [None, 0.0]


@pytest.mark.parametrize(
    ("scoring", "said"),
    [
        ({"kind": "rogue"}, "scoring.kind"),
        ({"kind": "mixture"}, "needs weights"),
        ({"mixture": {"bleu": 1}}, "rouge_l, embedding, judge"),
        ({"mixture": {"rouge_l": 0}}, "weights above 0"),
        ({"judge": {"votes": 3}}, "votes of a greedy judge are all the same"),
    ],
)
def test_an_impossible_scoring_is_refused(scoring, said):
    with pytest.raises(ConfigError, match=said):
        parse_config({"scoring": scoring})


@pytest.mark.parametrize(
    "scoring",
    [
        judge(),
        {**judge(), "kind": "mixture", "mixture": {"rouge_l": 1, "judge": 0.5}},
        {"kind": "embedding", "embedder": "hash"},
    ],
    ids=["judge", "mixture", "embedding"],
)
def test_a_run_under_another_similarity_keeps_every_promise(
    store, scripted_settings, scripted_judge, scoring
):
    folder = run_inline(store, {**scripted_settings, "scoring": scoring})
    assert folder.state().status == "finished"
    assert store.database.query("select count(*) n from candidates where selected")[0]["n"] > 0
    asked = len(scripted_judge)
    found = check_invariants(run_evidence(store, folder))
    assert found == {name: [] for name in found}
    assert len(scripted_judge) == asked, "the check reads kept verdicts and asks nobody"


def test_without_kept_verdicts_the_check_goes_by_the_stored_scores(store, scripted_settings, scripted_judge):
    folder = run_inline(store, {**scripted_settings, "scoring": judge()})
    (store.cache / "verdicts.sqlite").unlink()
    found = check_invariants(run_evidence(store, folder))
    assert found == {name: [] for name in found}
    store.database.execute("update candidates set score = 0 where selected")
    found = check_invariants(run_evidence(store, folder))
    assert any(name.startswith("2") and violations for name, violations in found.items())


def test_a_false_stored_score_is_found_by_the_kept_verdicts(store, scripted_settings, scripted_judge):
    folder = run_inline(store, {**scripted_settings, "scoring": judge()})
    store.database.execute("update candidates set score = 0.987 where selected")
    found = check_invariants(run_evidence(store, folder))
    assert any(name.startswith("2") and violations for name, violations in found.items())


def test_the_judge_is_named_by_its_engine_and_weights(tmp_path):
    from lpd_core.build import build_judge

    def name(**settings):
        return build_judge(
            parse_config({"model": {"path": "data/demo/model"}, "scoring": settings}), tmp_path
        ).name

    assert name(judge={"sampler": {"kind": "scripted"}}) == "scripted:echo"
    own = name()
    assert own.startswith("transformers:model@") and len(own.partition("@")[2]) == 16
    server = {"kind": "openai", "url": "http://127.0.0.1:1/v1", "served": "judge"}
    assert name(judge={"sampler": server}) == "openai:judge@http://127.0.0.1:1/v1"
    assert name(judge={"model": {"path": "owner/judge"}}) == "transformers:owner/judge"
    assert isinstance(build_parts(parse_config({}), tmp_path).scorer.scorer, RougeL)


def test_a_judge_without_model_server_name_or_rubric_stops_a_run_before_it_starts(store, scripted_settings):
    from lpd_core.preflight import check_run

    for settings, said in (
        ({"sampler": {"kind": "openai", "url": "http://127.0.0.1:1/v1"}}, "scoring.judge.sampler.served"),
        ({"sampler": {"kind": "transformers"}}, "scoring.judge.model.path"),
        ({"sampler": {"kind": "scripted"}, "rubric": "/nowhere/rubric.txt"}, "rubric"),
    ):
        config = parse_config({**scripted_settings, "scoring": {"kind": "judge", "judge": settings}})
        assert any(said in f"{e.what} {e.mend}" for e in check_run(store, config).errors), said
