"""The chats of the method: what each role is shown, and only that.

Every chat begins with x and y1. The gold stands in `propose_chat` and nowhere else (invariant 1). The chat
under which y2 is written is the same in the E-step, in training and at inference, so that the M-step learns
exactly the distribution that the E-step samples from. Templates are text files; only the placeholders they
declare are replaced, in one pass, so braces in a user's text are harmless.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lpd_core.config import PromptsConfig, resolve_path
from lpd_core.errors import ConfigError
from lpd_core.types import Example, Message, TrainingRow, Trajectory

SHIPPED = Path(__file__).parent / "templates"
PLACEHOLDERS: Mapping[str, frozenset[str]] = {
    "principle_cue": frozenset(),
    "propose": frozenset({"gold"}),
    "refine_cue": frozenset({"principle"}),
    "critique": frozenset({"principle"}),
    "improve_cue": frozenset(),
}

Chat = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Templates:
    """The five cue texts, each with its placeholders in braces, and the system turn that opens every chat."""

    principle_cue: str
    propose: str
    refine_cue: str
    critique: str
    improve_cue: str
    system: str = ""


def load_templates(config: PromptsConfig) -> Templates:
    """The cues of the configured folder or the shipped one, and the system turn. Raises as `template_texts`."""
    return Templates(**template_texts(config), system=config.system)


def template_texts(config: PromptsConfig) -> dict[str, str]:
    """The cue texts by name. Raises `ConfigError` when a file is missing or lacks its placeholder."""
    folder = resolve_path(config.folder) if config.folder else SHIPPED
    texts = {}
    for name, needed in PLACEHOLDERS.items():
        path = folder / f"{name}.txt"
        if name == "improve_cue" and not path.exists():  # a folder may hold STaPLe's own cues alone
            path = SHIPPED / path.name
        try:
            texts[name] = path.read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as cause:
            raise ConfigError(f"cannot read the prompt {path}: {cause}") from cause
        missing = [key for key in needed if f"{{{key}}}" not in texts[name]]
        if missing or not texts[name].strip():
            raise ConfigError(f"the prompt {path} must contain {{{next(iter(needed), 'some text')}}}")
    return texts


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace each `{name}` that `values` declares, in one pass; other braces stay."""
    if not values:
        return template
    pattern = re.compile("|".join(re.escape(f"{{{name}}}") for name in values))
    return pattern.sub(lambda found: values[found.group()[1:-1]], template)


def _user(content: str) -> Message:
    return {"role": "user", "content": content}


def _assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}


def opening(templates: Templates, messages: Chat) -> Chat:
    """x as the model sees it, which is also the chat that y1 answers: the system turn, if any, then the prompt."""
    return ({"role": "system", "content": templates.system}, *messages) if templates.system else messages


def propose_chat(templates: Templates, messages: Chat, draft: str, gold: str) -> Chat:
    """x, y1, then the gold as a hint: the model answers with z. The only chat that shows the gold."""
    hint = _user(fill(templates.propose, {"gold": gold}))
    return (*opening(templates, messages), _assistant(draft), hint)


def principle_chat(templates: Templates, messages: Chat, draft: str) -> Chat:
    """x, y1, the cue without hint: the model answers with z by itself (inference, section 6)."""
    return (*opening(templates, messages), _assistant(draft), _user(templates.principle_cue))


def critique_chat(templates: Templates, messages: Chat, draft: str, principle: str) -> Chat:
    """x, y1, cue, z, then the call for a critique of y1 in the light of z."""
    cue = _user(fill(templates.critique, {"principle": principle}))
    return (*principle_chat(templates, messages, draft), _assistant(principle), cue)


def refine_chat(
    templates: Templates, messages: Chat, draft: str, principle: str, critique: str | None = None
) -> Chat:
    """x, y1, cue, z[, critique], then the call to rewrite under z: the model answers with y2."""
    before = (*principle_chat(templates, messages, draft), _assistant(principle))
    if critique is not None:
        before = (*critique_chat(templates, messages, draft, principle), _assistant(critique))
    return (*before, _user(fill(templates.refine_cue, {"principle": principle})))


def improve_chat(templates: Templates, messages: Chat, draft: str) -> Chat:
    """x, y1, then the call to rewrite it with no principle named: the STaR-style line's model answers with y2."""
    return (*opening(templates, messages), _assistant(draft), _user(templates.improve_cue))


def training_row(
    templates: Templates, trajectory: Trajectory, train_draft: bool, with_principle: bool = True
) -> TrainingRow:
    """The chat to train on: x, y1, cue, z, cue, y2 with the loss on z and y2 (and y1 if asked; an empty draft is
    nothing to learn). Without the principle: x, y1, cue, y2 with the loss on y2."""
    draft_turn = len(opening(templates, trajectory.messages))
    if with_principle:
        chat = refine_chat(templates, trajectory.messages, trajectory.draft, trajectory.principle)
        trained = (draft_turn + 2, draft_turn + 4)
    else:
        chat = improve_chat(templates, trajectory.messages, trajectory.draft)
        trained = (draft_turn + 2,)
    return TrainingRow(
        prompt_id=trajectory.prompt_id,
        sample=trajectory.sample,
        principle=trajectory.principle if with_principle else "",
        messages=(*chat, _assistant(trajectory.response)),
        trained=(draft_turn, *trained) if train_draft and trajectory.draft.strip() else trained,
        weight=trajectory.weight,
    )


def gold_row(templates: Templates, example: Example) -> TrainingRow:
    """The chat of plain fine-tuning: x and the gold, with the loss on the gold."""
    chat = opening(templates, example.messages)
    return TrainingRow(
        prompt_id=example.prompt_id,
        sample=0,
        principle="",
        messages=(*chat, _assistant(example.gold)),
        trained=(len(chat),),
    )
