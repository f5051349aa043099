"""Each stored generation with the prompt that the model read: rendered anew, it is what the sampler was sent."""

import json

import pytest
from conftest import run_inline, small_settings
from models import tiny_model

from lpd_core.build import build_sampler
from lpd_core.errors import UserError
from lpd_core.samplers.transformers import TransformersSampler
from lpd_core.store import Store
from lpd_core.transcripts import heldout, mined
from lpd_core.types import SampleRequest
from tests.faults.kills import call


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on a tiny random model up to its review: its store, its folder, every prompt that was sent with the
    answer."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("transcripts")
        patch.setenv("LPD_HOME", str(folder / "home"))
        store = Store(folder / "home")
        yield store, *mine(store, small_settings(folder), folder, patch)


def mine(store, settings, tmp_path, patch):
    sent = []
    decode = TransformersSampler._decode

    def told(self, batch, requests, sampling):
        answers = decode(self, batch, requests, sampling)
        for group in batch:
            sent.extend((self.tokenizer.decode(group.tokens), answers[row]) for row in group.rows)
        return answers

    patch.setattr(TransformersSampler, "_decode", told)
    short = {"temperature": 1.0, "max_tokens": 12}
    settings = {
        **settings,
        "iterations": 1,
        "review": True,
        "sampler": {"kind": "transformers"},
        "model": {
            "path": str(tiny_model(tmp_path / "model")),
            "device": "cpu",
            "max_length": 200,
            "overlong": "truncate",
        },
        "e_step": {"n": 2, "chunk_prompts": 8, "use_critique": True, "margin": 0.0}
        | dict.fromkeys(("draft", "propose", "critique", "refine"), short),
        "evaluate": dict.fromkeys(("draft", "principle", "refine"), short) | {"resamples": 200},
    }
    return run_inline(store, settings), sent


def test_a_candidates_transcripts_are_what_was_sent_and_said(run):
    store, folder, sent = run
    rows = store.database.query("select prompt_id, sample, response from candidates where response <> ''")
    assert rows
    for row in rows[:8]:
        found = mined(store, folder, 1, row["prompt_id"], row["sample"])
        assert [t.role for t in found] == ["draft", "propose", "critique", "refine"]
        for t in found:
            matching = [g for prompt, g in sent if prompt == t.prompt and g.text == t.raw]
            assert matching and matching[0].finish_reason == t.finish_reason, t.role
            assert (matching[0].tokens, matching[0].truncated) == (t.tokens, t.truncated)
        assert found[-1].text == row["response"]


def test_a_transcript_sampled_again_says_the_same(run):
    store, folder, _ = run
    row = store.database.query("select prompt_id, sample from candidates where response <> '' limit 1")[0]
    sampler = build_sampler(folder.config(), folder.config().model.path)
    for t in mined(store, folder, 1, row["prompt_id"], row["sample"]):
        (again,) = sampler.sample([SampleRequest(tuple(t.messages), t.seed)], t.sampling)
        assert again.text == t.raw


def test_a_held_out_prompts_transcripts_and_the_command(run):
    store, folder, sent = run
    row = store.database.query("select prompt_id, response from evaluations where benchmark = 'dev' limit 1")[
        0
    ]
    found = heldout(store, folder, 0, "dev", row["prompt_id"])
    assert [t.role for t in found] == ["draft", "principle", "refine"]
    assert all(any(prompt == t.prompt and g.text == t.raw for prompt, g in sent) for t in found)
    told = call(store.home, "show-prompt", "last", "0", row["prompt_id"], "--set", "dev", "--json")
    assert told.returncode == 0, told.stderr
    assert [t["prompt"] for t in json.loads(told.stdout)] == [t.prompt for t in found]
    assert (
        "<|im_start|>assistant"
        in call(store.home, "show-prompt", "last", "0", row["prompt_id"], "--set", "dev").stdout
    )


def test_a_row_that_is_not_there_is_told(run):
    store, folder, _ = run
    with pytest.raises(UserError, match="has no sample 0 of prompt 'nowhere'"):
        mined(store, folder, 1, "nowhere", 0)
