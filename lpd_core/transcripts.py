"""Each stored generation as it was: the exact rendered prompt, the sampling parameters, the finish reason, the raw text.

Prompts are not stored, at 17 for each mined prompt: they follow from the run's templates, its rows and the tokenizer,
and are rendered anew here by the code that rendered them for the sampler.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lpd_core.config import RunConfig, Sampling
from lpd_core.errors import UserError
from lpd_core.prompts import (
    Chat,
    Templates,
    critique_chat,
    improve_chat,
    load_templates,
    opening,
    principle_chat,
    propose_chat,
    refine_chat,
)
from lpd_core.seeds import derive_seed
from lpd_core.stage import model_of
from lpd_core.store import RunFolder, Store, corpora, results
from lpd_core.types import Example


@dataclass(frozen=True, slots=True)
class Transcript:
    """One role's generation. `prompt` is the rendered text, None where the tokenizer is not here; `raw` is all that was
    said, `text` what the row keeps of it."""

    role: str
    messages: Chat
    prompt: str | None
    truncated: bool
    model: str
    sampling: Sampling
    seed: int
    text: str
    raw: str
    finish_reason: str | None
    tokens: int | None
    error: str | None


def mined(store: Store, folder: RunFolder, iteration: int, prompt_id: str, sample: int) -> list[Transcript]:
    """The draft, the principle, the critique and the refinement of a candidate, those of them that were sampled.

    Raises `UserError` where there is no such candidate."""
    row = results.generation_row(store, folder.run_id, iteration, prompt_id, sample)
    if row is None:
        raise UserError(
            f"iteration {iteration} of {folder.run_id} has no sample {sample} of prompt {prompt_id!r}"
        )
    config, templates = folder.config(), load_templates(folder.prompts(folder.config()))
    example = _example(store, folder.run_id, iteration, "train", prompt_id)
    y1, z, settings = row["draft"], row["principle"], config.e_step
    chats: dict[str, tuple[Chat, Sampling, str]] = {
        "draft": (opening(templates, example.messages), settings.draft, y1),
        "propose": (
            propose_chat(templates, example.messages, y1, example.gold),
            settings.propose,
            row["raw_principle"],
        ),
        "critique": (critique_chat(templates, example.messages, y1, z), settings.critique, row["critique"]),
        "refine": (
            refine_chat(templates, example.messages, y1, z, row["critique"]),
            settings.refine,
            row["response"],
        ),
    }
    told = json.loads(row["draft_generations"] or "{}") | json.loads(row["generations"] or "{}")
    seeds = {
        role: derive_seed(config.seed, iteration, role, prompt_id, 0 if role == "draft" else sample)
        for role in chats
    }
    return _transcripts(config, model_of(config, folder, iteration - 1), chats, told, seeds)


def heldout(
    store: Store, folder: RunFolder, iteration: int, benchmark: str, prompt_id: str
) -> list[Transcript]:
    """The draft, the principle and the refinement of a held-out prompt as M_t gave them.

    Raises `UserError` where there is no such measurement."""
    row = results.heldout_generations(store, folder.run_id, iteration, benchmark, prompt_id)
    if row is None:
        raise UserError(
            f"iteration {iteration} of {folder.run_id} has no prompt {prompt_id!r} in {benchmark!r}"
        )
    config, templates = folder.config(), load_templates(folder.prompts(folder.config()))
    example = _example(store, folder.run_id, 0, benchmark, prompt_id)
    chats = _heldout_chats(templates, example, row, config)
    seeds = {
        role: derive_seed(config.seed, "evaluate", iteration, benchmark, role, prompt_id) for role in chats
    }
    told = json.loads(row["generations"] or "{}")
    return _transcripts(config, model_of(config, folder, iteration), chats, told, seeds)


def _heldout_chats(
    templates: Templates, example: Example, row: Mapping[str, Any], config: RunConfig
) -> dict[str, tuple[Chat, Sampling, str]]:
    y1, z, settings = row["draft"], row["principle"], config.evaluate
    without_z = config.m_step.target == "star"
    refine = improve_chat(templates, example.messages, y1) if without_z else None
    return {
        "draft": (opening(templates, example.messages), settings.draft, y1),
        "principle": (principle_chat(templates, example.messages, y1), settings.principle, z),
        "refine": (
            refine or refine_chat(templates, example.messages, y1, z),
            settings.refine,
            row["response"],
        ),
    }


def _example(store: Store, run_id: str, iteration: int, benchmark: str, prompt_id: str) -> Example:
    found = [e for e in corpora.assigned(store, run_id, iteration, benchmark) if e.prompt_id == prompt_id]
    if not found:
        raise UserError(f"{run_id} has no prompt {prompt_id!r} among those of {benchmark!r}")
    return found[0]


def _transcripts(
    config: RunConfig,
    model: str,
    chats: Mapping[str, tuple[Chat, Sampling, str | None]],
    told: Mapping[str, Mapping[str, Any]],
    seeds: Mapping[str, int],
) -> list[Transcript]:
    render = _renderer(config, model)
    made = []
    for role, (chat, sampling, text) in chats.items():
        if role not in told:
            continue  # not sampled: no critique, a principle from the seeds, a candidate rejected before
        record = told[role]
        prompt, truncated = render(chat, sampling.max_tokens)
        made.append(
            Transcript(
                role=role,
                messages=chat,
                prompt=prompt,
                truncated=truncated,
                model=model,
                sampling=sampling,
                seed=seeds[role],
                text=text or "",
                raw=record.get("raw", text or ""),
                finish_reason=record["finish_reason"],
                tokens=record["tokens"],
                error=record.get("error"),
            )
        )
    return made


def _renderer(config: RunConfig, model: str):
    """Chat and most tokens of its answer -> the prompt as the model read it and whether it was cut; no prompt where there
    is no tokenizer (the scripted fake, a model that only a server has)."""
    if config.sampler.kind == "scripted":
        return lambda chat, max_tokens: (None, False)
    from lpd_core.samplers.chat import load_tokenizer
    from lpd_core.samplers.groups import Prompter

    try:
        tokenizer = load_tokenizer(model, config.model)
    except UserError:
        return lambda chat, max_tokens: (None, False)
    prompter = Prompter(tokenizer, config.model)

    def render(chat: Sequence, max_tokens: int) -> tuple[str, bool]:
        tokens, truncated = prompter.encode(chat, max_tokens)
        return tokenizer.decode(tokens, clean_up_tokenization_spaces=False), truncated

    return render
