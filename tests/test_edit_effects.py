"""What an edit did: a planted change of the touched prompts is found, and a run's own edits are followed to its measures."""

import numpy as np
import pytest
from conftest import run_inline

from lpd_core import gate
from lpd_core.constitution import from_clustering, record, start
from lpd_core.driver import drive
from lpd_core.edit_effects import changes, run_edit_effects, touched_principles
from lpd_core.statistics import difference_interval
from lpd_core.store import evaluating, results
from lpd_core.types import Cluster, Clustering, Member


def constitution():
    clusters = (
        Cluster("1.1", "a", "a", (Member("a", 3, 0.0), Member("b", 2, 0.1))),
        Cluster("1.2", "c", "c", (Member("c", 4, 0.0),)),
    )
    return from_clustering(
        Clustering(clusters, ("a", "b", "c"), (), ()), {"a": "Do a.", "b": "Do b.", "c": "Do c."}
    )


def edited(op, args):
    log = start(constitution())
    return log.current, record(log, op, args, author="ada", at="now").current


@pytest.mark.parametrize(
    ("op", "args", "touched"),
    [
        ("prune", {"id": "1.2"}, {"c"}),
        ("reword", {"id": "1.1", "text": "Do it well."}, {"a", "b"}),
        ("merge", {"ids": ["1.1", "1.2"]}, {"c"}),
        ("move", {"principle_ids": ["b"], "to": "1.2"}, {"b"}),
        ("pin", {"id": "1.1"}, set()),
        ("note", {"id": "1.1", "note": "look"}, set()),
    ],
)
def test_an_edit_touches_the_principles_whose_training_text_it_changes(op, args, touched):
    assert touched_principles(*edited(op, args)) == touched


def test_without_relabelling_only_what_leaves_or_comes_is_touched():
    assert (
        touched_principles(*edited("reword", {"id": "1.1", "text": "Do it well."}), replaces=False) == set()
    )
    assert touched_principles(*edited("prune", {"id": "1.2"}), replaces=False) == {"c"}


def rows(scores, drafts):
    return [
        {"prompt_id": f"p{n}", "score": score, "draft_score": draft}
        for n, (score, draft) in enumerate(zip(scores, drafts, strict=True))
    ]


def test_a_planted_change_of_the_touched_prompts_is_found_beside_the_others():
    draw = np.random.default_rng(4)
    y1, y2 = draw.normal(0.3, 0.1, 300), draw.normal(0.5, 0.1, 300)
    touched = {f"p{n}" for n in range(120)}
    moved = y2 + draw.normal(0, 0.05, 300) + np.where(np.arange(300) < 120, 0.08, 0.0)
    found = {each.measure: each for each in changes(rows(y2, y1), rows(moved, y1), touched)}
    assert found["y2"].touched.low > 0 and found["y2"].touched.n == 120
    assert found["y2"].others.low < 0 < found["y2"].others.high and found["y2"].others.n == 180
    assert found["y2"].between.low > 0 and found["y2"].between.mean == pytest.approx(0.08, abs=0.02)
    assert found["y1"].touched.mean == 0.0
    assert found["accepted"].touched.n == 120


def test_a_prompt_without_a_score_is_left_out_and_no_touched_prompt_means_no_interval():
    before, after = rows([0.5, None, 0.2], [0.1, 0.1, 0.3]), rows([0.6, 0.9, 0.4], [0.1, None, 0.3])
    found = {each.measure: each for each in changes(before, after, ())}
    assert (found["y2"].others.n, found["y1"].others.n, found["accepted"].others.n) == (2, 2, 2)
    assert found["y2"].touched.n == found["y2"].between.n == 0
    assert found["accepted"].others.mean == pytest.approx(0.5)


def test_acceptance_counts_from_the_margin_on():
    before, after = rows([0.35], [0.3]), rows([0.45], [0.3])
    found = {each.measure: each for each in changes(before, after, {"p0"}, margin=0.1)}
    assert found["accepted"].touched.mean == 1.0


def test_the_difference_of_two_samples_is_covered_as_often_as_it_says():
    covered = 0
    for study in range(100):
        draw = np.random.default_rng(study)
        found = difference_interval(draw.normal(0.2, 0.3, 60), draw.normal(0.0, 0.2, 90), 300)
        covered += found.low <= 0.2 <= found.high
    assert 88 <= covered <= 100


def test_a_runs_edits_are_followed_to_the_measurement_after_them(store, scripted_settings):
    settings = {**scripted_settings, "iterations": 1, "review": True}
    folder = run_inline(store, settings)
    run = folder.run_id
    here = gate.current(store, run, 1)
    entry = here.active[0]
    asked = [row["prompt_id"] for row in evaluating.heldout_answers(store, run, 0, "test")]
    text = here.texts[entry.members[0].principle_id]
    for prompt, said in ((asked[0], text), (asked[3], text.upper()), (asked[5], "In other words")):
        store.database.execute(
            "update evaluations set principle = ? where run_id = ? and iteration = 0 and prompt_id = ?",
            [said, run, prompt],
        )
    gate.edit(store, run, 1, "reword", {"id": entry.entry_id, "text": "Say a little more."}, "ada", "clearer")
    gate.edit(store, run, 1, "note", {"id": entry.entry_id, "note": "seen"}, "ada")
    assert run_edit_effects(store, run, folder.config(), "test") == []  # nothing has been trained on it yet
    gate.approve(store, folder, 1, "ada", "go")
    drive(store, run, inline=True)
    (found,) = run_edit_effects(store, run, folder.config(), "test")
    assert (found.iteration, found.seq, found.op, found.author, found.reason) == (
        1,
        1,
        "reword",
        "ada",
        "clearer",
    )
    assert found.principles == len(entry.members)
    assert list(found.prompt_ids) == sorted([asked[0], asked[3]])
    change = {each.measure: each for each in found.changes}["y2"]
    assert (change.touched.n, change.others.n) == (2, 6)
    vector = results.known_vectors(store, [entry.members[0].principle_id], "hash")[
        entry.members[0].principle_id
    ]
    alike = Alike(vector)
    (near,) = run_edit_effects(store, run, folder.config(), "test", lambda: alike)
    assert set(near.prompt_ids) >= {asked[0], asked[3], asked[5]}


class Alike:
    """Holds every text for the same."""

    def __init__(self, vector):
        self.vector = vector

    def embed(self, texts):
        return np.stack([self.vector] * len(texts))
