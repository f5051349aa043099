"""The demo world and the model that ships with it: rule, data sets, no leak, what the model can do."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from data.demo.builder import corpus, ship, world
from data.demo.builder.attributes import ATTRIBUTES
from data.demo.builder.checkers import named, realised, rouge_l
from data.demo.builder.cues import CUES, SITUATIONS, TRAIN_PHRASINGS
from data.demo.builder.domains import DOMAINS

DEMO = Path(__file__).resolve().parents[1] / "data" / "demo"


@pytest.fixture(scope="module")
def splits() -> dict[str, list[dict]]:
    """The shipped data sets."""
    return {split: world.load_split(DEMO, split) for split in world.SPLITS}


@pytest.fixture(scope="module")
def shipped():
    """The shipped model and tokenizer."""
    import torch

    torch.set_num_threads(1)
    return ship.load(DEMO / "model")


def test_shipped_splits_are_what_the_builder_makes(splits):
    assert splits == json.loads(json.dumps(world.make_splits(seed=1)))


def test_rule_is_a_function_and_uses_every_attribute():
    table = {(d, c): world.rule(d, c) for d in DOMAINS for c in CUES}
    assert table == {(d, c): world.rule(d, c) for d in DOMAINS for c in CUES}
    assert set(table.values()) == set(ATTRIBUTES)


def test_no_case_is_in_two_splits(splits):
    cases = [
        (r["meta"]["domain"], r["meta"]["cue"], *sorted(r["meta"]["slots"].items()))
        for rows in splits.values()
        for r in rows
    ]
    assert len(cases) == len(set(cases))
    ids = [r["id"] for rows in splits.values() for r in rows]
    assert len(ids) == len(set(ids)) == sum(world.SPLITS.values())


def test_shifted_sets_are_unseen_in_train(splits):
    train_topics = {r["meta"]["topic"] for r in splits["train"]}
    assert not train_topics & {r["meta"]["topic"] for r in splits["shifted_topics"]}
    train_text = " ".join(r["messages"][0]["content"] for r in splits["train"])
    unseen = [p for phrasings in CUES.values() for p in phrasings[TRAIN_PHRASINGS:]]
    assert not [p for p in unseen if p in train_text]
    assert all(any(p in r["messages"][0]["content"] for p in unseen) for r in splits["shifted_cues"])


def test_golds_carry_exactly_their_attributes(splits):
    for rows in splits.values():
        for row in rows:
            assert sorted(realised(row["gold"])) == sorted(row["meta"]["attributes"])
            assert {named(p) for p in row["meta"]["right_principles"]} == set(row["meta"]["attributes"])
            assert not realised(row["messages"][0]["content"])


def test_about_three_of_ten_golds_carry_two(splits):
    share = sum(len(r["meta"]["attributes"]) == 2 for r in splits["train"]) / len(splits["train"])
    assert 0.22 < share < 0.34


def test_marks_name_every_statement_alone():
    for key, spec in ATTRIBUTES.items():
        for statement in spec.statements:
            hits = [
                k for k, other in ATTRIBUTES.items() if re.search(other.statement_mark, statement.lower())
            ]
            assert hits == [key], statement


def test_right_edit_gains_and_wrong_edit_loses():
    rng = random.Random(5)
    plain, right, wrong = [], [], []
    for _ in range(500):
        case = world.draw_case(rng, "train", "train")
        keys = world.gold_attributes(case, rng)
        gold = world.realise(world.render_plain(case, rng), case, keys, rng)
        draft = world.render_plain(case, rng)
        other = rng.choice([k for k in ATTRIBUTES if k not in keys])
        plain.append(rouge_l(draft, gold))
        right.append(rouge_l(world.realise(draft, case, keys[:1], rng), gold))
        wrong.append(rouge_l(world.realise(draft, case, [other], rng), gold))
    assert sum(right) / 500 > sum(plain) / 500 + 0.12
    assert sum(wrong) / 500 < sum(plain) / 500 - 0.02


def _cue_of(text: str) -> str:
    """The cue that a prompt tells."""
    return next((c for c, ps in CUES.items() if c != "none" and any(p in text for p in ps)), "none")


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_pretraining_shows_no_association_of_cue_and_attribute(progress):
    rng, counts = random.Random(7), Counter()
    while sum(counts.values()) < 5000:
        turns = corpus.conversation(rng, progress)
        if len(turns) >= 4 and (key := named(turns[3].content)):
            counts[_cue_of(turns[0].content), key] += 1
    total, cues, keys = sum(counts.values()), Counter(), Counter()
    for (cue, key), n in counts.items():
        cues[cue] += n
        keys[key] += n
    statistic = sum(
        (counts[c, k] - e) ** 2 / e for c in cues for k in keys if (e := cues[c] * keys[k] / total)
    )
    degrees = (len(CUES) - 1) * (len(ATTRIBUTES) - 1)
    assert len(keys) == len(ATTRIBUTES) and len(cues) == len(CUES)
    assert statistic < degrees + 3.3 * (2 * degrees) ** 0.5  # about the 99.9th percentile
    assert max(counts.values()) / total < 2.2 / (len(CUES) * len(ATTRIBUTES))


def test_situations_never_name_a_principle():
    assert not [s for s in SITUATIONS.values() if named(s)]


def test_corpus_speaks_the_engine_templates():
    turns = corpus.refine_turns("x?", "draft {gold}", "Ask {principle}.", "better")
    assert turns[2].content == corpus.template("principle_cue")
    assert turns[4].content == corpus.template("refine_cue").replace("{principle}", "Ask {principle}.")
    assert "{gold}" not in corpus.propose_turns("x?", "y", "G")[2].content


def test_card_states_the_digest_of_the_weights():
    card = (DEMO / "model" / "README.md").read_text(encoding="utf-8")
    for name in ship.MODEL_FILES:
        assert ship.sha256(DEMO / "model" / name) in card


def test_demo_is_small():
    assert sum(p.stat().st_size for p in DEMO.rglob("*") if p.is_file()) < 16 * 2**20


def test_chat_template_marks_the_assistant_with_its_end(shipped):
    _, tokenizer = shipped
    turns = corpus.refine_turns("x?", "one", "Ask.", "two")
    messages = [{"role": t.role, "content": t.content} for t in turns]
    out = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    trained = [i for i, m in zip(out["input_ids"], out["assistant_masks"], strict=True) if m]
    assert tokenizer.decode(trained) == "one<|end|>Ask.<|end|>two<|end|>"


def test_shipped_model_follows_a_given_principle(shipped, splits):
    from data.demo.builder.measure import respond

    rng, rows = random.Random(3), splits["dev"][:20]
    xs = [r["messages"][0]["content"] for r in rows]
    drafts = respond(*shipped, [corpus.draft_turns(x, "")[:1] for x in xs])
    drawn = [corpus.draw_statement(rng) for _ in rows]
    chats = [corpus.refine_turns(x, y, z) for x, y, (_, z) in zip(xs, drafts, drawn, strict=True)]
    edits = respond(*shipped, chats)
    assert sum(realised(e) == [k] for e, (k, _) in zip(edits, drawn, strict=True)) >= 17
    assert sum(y in e for e, y in zip(edits, drafts, strict=True)) >= 15
