"""The chats of the method: who sees what."""

import pytest

from lpd_core.config import PromptsConfig
from lpd_core.errors import ConfigError
from lpd_core.prompts import (
    critique_chat,
    fill,
    load_templates,
    opening,
    principle_chat,
    propose_chat,
    refine_chat,
    training_row,
)
from lpd_core.types import Trajectory

PROMPT = ({"role": "user", "content": "How do I boil an egg?"},)
GOLD = "Put it in boiling water for eight minutes, then cool it."
DRAFT, PRINCIPLE, RESPONSE = "Boil it.", "Give exact times.", "Boil it for eight minutes."


@pytest.fixture
def templates():
    return load_templates(PromptsConfig())


def test_only_the_proposer_sees_the_gold(templates):
    assert any(GOLD in turn["content"] for turn in propose_chat(templates, PROMPT, DRAFT, GOLD))
    others = (
        opening(templates, PROMPT),
        principle_chat(templates, PROMPT, DRAFT),
        critique_chat(templates, PROMPT, DRAFT, PRINCIPLE),
        refine_chat(templates, PROMPT, DRAFT, PRINCIPLE, "It lacks a time."),
    )
    assert not any(GOLD in turn["content"] for chat in others for turn in chat)


def test_the_trained_chat_is_the_refine_chat_with_its_answer(templates):
    trajectory = Trajectory("p", 0, PROMPT, DRAFT, PRINCIPLE, "id", RESPONSE, 0.2)
    row = training_row(templates, trajectory, train_draft=False)
    assert row.messages[:-1] == refine_chat(templates, PROMPT, DRAFT, PRINCIPLE)
    assert [row.messages[turn]["content"] for turn in row.trained] == [PRINCIPLE, RESPONSE]
    with_draft = training_row(templates, trajectory, train_draft=True)
    assert [with_draft.messages[turn]["content"] for turn in with_draft.trained] == [
        DRAFT,
        PRINCIPLE,
        RESPONSE,
    ]


def test_an_empty_draft_is_nothing_to_learn(templates):
    row = training_row(templates, Trajectory("p", 0, PROMPT, " ", PRINCIPLE, "id", RESPONSE, 0.2), True)
    assert [row.messages[turn]["content"] for turn in row.trained] == [PRINCIPLE, RESPONSE]


def test_a_system_turn_opens_every_chat_and_moves_the_trained_turns():
    templates = load_templates(PromptsConfig(system="Be brief."))
    row = training_row(templates, Trajectory("p", 0, PROMPT, DRAFT, PRINCIPLE, "id", RESPONSE, 0.2), False)
    assert row.messages[0] == {"role": "system", "content": "Be brief."}
    assert [row.messages[turn]["content"] for turn in row.trained] == [PRINCIPLE, RESPONSE]


def test_braces_in_a_users_text_are_harmless():
    assert fill("say {gold}", {"gold": "{principle} {gold} {0}"}) == "say {principle} {gold} {0}"


def test_a_template_without_its_placeholder_is_refused(tmp_path):
    for name in ("principle_cue", "propose", "refine_cue", "critique"):
        (tmp_path / f"{name}.txt").write_text("text {principle}")
    with pytest.raises(ConfigError, match=r"propose.txt must contain \{gold\}"):
        load_templates(PromptsConfig(folder=str(tmp_path)))
