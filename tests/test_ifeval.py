"""IFEval's verdicts: what the official functions say of constructed responses to all of its prompts."""

import importlib.util
import random
from collections import Counter

import pytest
from conftest import SHARED
from ifeval_responses import BUILDERS, respond

from lpd_core import ifeval
from lpd_core.errors import DataError

PROMPTS = SHARED / "ifeval_input_data.jsonl"
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason=ifeval.MISSING),
    pytest.mark.skipif(
        not PROMPTS.exists(), reason="IFEval's prompts (CC BY 4.0) are not beside the project"
    ),
]
LANGUAGE = "language:response_language"


def is_decidable(name, arguments):
    """Languages are detected by chance, and for a letter that is none the checker draws another."""
    return name != LANGUAGE and str(arguments.get("letter", "a")).isalpha()


def official(prompt, response):
    """The verdicts of the harness' own function, called directly."""
    from lm_eval.tasks.ifeval.utils import process_results

    random.seed(prompt.key)
    document = {
        "key": prompt.key,
        "prompt": prompt.prompt,
        "instruction_id_list": list(prompt.instruction_id_list),
        "kwargs": list(prompt.kwargs),
    }
    return process_results(document, [response])


@pytest.fixture(scope="module")
def cases():
    """Each prompt with each of its instructions, followed and broken: (prompt, place, follows, response, checked)."""
    made = []
    for prompt in ifeval.read_prompts(PROMPTS):
        for place, (name, arguments) in enumerate(
            zip(prompt.instruction_id_list, prompt.kwargs, strict=True)
        ):
            for follows in (True, False):
                response = respond(name, dict(arguments), follows)
                made.append((prompt, place, follows, response, ifeval.check_response(prompt, response)))
    return made


def test_all_541_prompts_and_25_kinds_are_there(cases):
    assert len({prompt.key for prompt, *_ in cases}) == 541
    assert {prompt.instruction_id_list[place] for prompt, place, *_ in cases} == set(BUILDERS)
    assert len(BUILDERS) == 25


def test_our_verdicts_are_the_official_ones(cases):
    for prompt, _, _, response, checked in cases:
        theirs = official(prompt, response)
        assert list(checked.strict) == theirs["inst_level_strict_acc"]
        assert list(checked.loose) == theirs["inst_level_loose_acc"]
        assert all(checked.strict) == theirs["prompt_level_strict_acc"]
        assert all(checked.loose) == theirs["prompt_level_loose_acc"]


def test_a_response_that_follows_passes_and_one_that_does_not_fails(cases):
    wrong = Counter(
        (prompt.instruction_id_list[place], follows)
        for prompt, place, follows, _, checked in cases
        if checked.strict[place] != follows
        and is_decidable(prompt.instruction_id_list[place], prompt.kwargs[place])
    )
    assert wrong == {}


def test_a_wrapped_answer_passes_loosely_only():
    prompt = next(
        p for p in ifeval.read_prompts(PROMPTS) if p.instruction_id_list == ("punctuation:no_comma",)
    )
    checked = ifeval.check_response(prompt, "Sure, here it is:\nno such mark here")
    assert (checked.strict, checked.loose) == ((False,), (True,))


def test_accuracies_count_prompts_instructions_and_what_was_not_answered(cases):
    checked = [each for _, _, follows, _, each in cases if follows]
    told = ifeval.accuracies([*checked, None])
    assert told["unanswered"] == 1
    passed = [all(each.strict) for each in checked]
    assert told["prompt_strict"]["mean"] == pytest.approx(sum(passed) / len(passed))
    assert told["prompt_strict"]["n"] == len(checked)
    flat = [followed for each in checked for followed in each.loose]
    assert told["instruction_loose"]["mean"] == pytest.approx(sum(flat) / len(flat))
    assert told["instruction_loose"]["instructions"] == len(flat)
    assert set(told["types"]) == set(BUILDERS)


def test_sentences_are_split_without_a_network_and_the_source_is_told():
    assert ifeval.sentence_splitter() in ("official punkt_tab", "shipped stand-in")


def test_a_line_that_is_no_prompt_is_named(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"key": 1}\n')
    with pytest.raises(DataError, match="line 1"):
        ifeval.read_prompts(path)
