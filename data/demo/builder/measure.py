"""Measures the base model: leak check, hinted rightness, following, copying and the oracle's ceiling."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from data.demo.builder.attributes import ATTRIBUTES
from data.demo.builder.checkers import named, realised, rouge_l
from data.demo.builder.corpus import (
    Turn,
    draft_turns,
    draw_statement,
    principle_turns,
    propose_turns,
    refine_turns,
)
from data.demo.builder.world import load_split, realise_slots

BATCH = 80


def respond(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    chats: list[list[Turn]],
    temperature: float = 0.0,
) -> list[str]:
    """The assistant's next turn of every chat; greedy at temperature 0."""
    replies: list[str] = []
    sampling = (
        {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    )
    for start in range(0, len(chats), BATCH):
        texts = [
            tokenizer.apply_chat_template(
                [{"role": t.role, "content": t.content} for t in chat],
                tokenize=False,
                add_generation_prompt=True,
            )
            for chat in chats[start : start + BATCH]
        ]
        inputs = tokenizer(
            texts, return_tensors="pt", padding=True, add_special_tokens=False, return_token_type_ids=False
        )
        with torch.inference_mode():
            out = model.generate(
                **inputs, max_new_tokens=110, pad_token_id=tokenizer.pad_token_id, **sampling
            )
        fresh = out[:, inputs["input_ids"].shape[1] :]
        replies += [text.strip() for text in tokenizer.batch_decode(fresh, skip_special_tokens=True)]
    return replies


def mean(values: list[float] | list[bool]) -> float:
    """The mean, rounded for a table."""
    return round(sum(values) / len(values), 4) if values else float("nan")


def is_right(principle: str, row: dict) -> bool:
    """Whether a principle names one of the gold's attributes."""
    return named(principle) in row["meta"]["attributes"]


def measure(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    out: Path,
    split: str = "dev",
    limit: int = 240,
) -> dict[str, float]:
    """All figures on one split; golds serve as the reference and, under propose, as the hint."""
    rows = load_split(out, split)[:limit]
    xs = [row["messages"][0]["content"] for row in rows]
    drafts = respond(model, tokenizer, [draft_turns(x, "")[:1] for x in xs])
    figures = {"prompts": len(rows), **_draft_figures(rows, drafts)}
    figures |= _principle_figures(model, tokenizer, rows, xs, drafts)
    figures |= _refine_figures(model, tokenizer, rows, xs, drafts)
    return figures | _oracle_figures(rows, drafts)


def _draft_figures(rows: list[dict], drafts: list[str]) -> dict[str, float]:
    """What the greedy drafts are worth, and whether they copy and know their facts."""
    slots = [row["meta"]["slots"] for row in rows]
    pairs = list(zip(drafts, slots, strict=True))
    return {
        "f(y1, gold)": mean([rouge_l(y, row["gold"]) for y, row in zip(drafts, rows, strict=True)]),
        "draft copies topic, day and number": mean(
            [all(s[k] in y for k in ("topic", "day", "num")) for y, s in pairs]
        ),
        "draft knows both facts": mean([s["a"] in y and s["b"] in y for y, s in pairs]),
        "draft shows a latent attribute": mean([bool(realised(y)) for y in drafts]),
    }


def _principle_figures(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    rows: list[dict],
    xs: list[str],
    drafts: list[str],
) -> dict[str, float]:
    """Right principles without the hint (the leak check) and with it."""
    unhinted = [principle_turns(x, y) for x, y in zip(xs, drafts, strict=True)]
    hinted = [propose_turns(x, y, row["gold"]) for x, y, row in zip(xs, drafts, rows, strict=True)]
    figures = {
        "chance of a right principle": mean([len(r["meta"]["attributes"]) / len(ATTRIBUTES) for r in rows])
    }
    for label, chats, temperature in (
        ("right without hint, greedy", unhinted, 0.0),
        ("right without hint, T=1", unhinted * 4, 1.0),
        ("right with hint, greedy", hinted, 0.0),
        ("right with hint, T=1", hinted, 1.0),
    ):
        replies = respond(model, tokenizer, chats, temperature)
        figures[label] = mean([is_right(z, rows[i % len(rows)]) for i, z in enumerate(replies)])
    return figures


def _refine_figures(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    rows: list[dict],
    xs: list[str],
    drafts: list[str],
) -> dict[str, float]:
    """Following a random principle, keeping the draft, exact edits, and what the base's own y2 is worth."""
    rng = random.Random(0)
    drawn = [draw_statement(rng) for _ in rows]
    chats = [refine_turns(x, y, z) for x, y, (_, z) in zip(xs, drafts, drawn, strict=True)]
    figures: dict[str, float] = {}
    for label, temperature in (("greedy", 0.0), ("T=0.7", 0.7)):
        edits = respond(model, tokenizer, chats, temperature)
        triples = list(zip(edits, drafts, drawn, rows, strict=True))
        figures[f"principle followed, {label}"] = mean([realised(e) == [k] for e, _, (k, _), _ in triples])
        figures[f"draft kept word for word, {label}"] = mean([y in e for e, y, _, _ in triples])
        figures[f"perfect edit, {label}"] = mean(
            [e in realise_slots(y, r["meta"]["slots"], k) for e, y, (k, _), r in triples]
        )
    own = respond(model, tokenizer, [principle_turns(x, y) for x, y in zip(xs, drafts, strict=True)])
    y2 = respond(model, tokenizer, [refine_turns(x, y, z) for x, y, z in zip(xs, drafts, own, strict=True)])
    figures["f(y2, gold), own principle"] = mean(
        [rouge_l(e, r["gold"]) for e, r in zip(y2, rows, strict=True)]
    )
    return figures


def _oracle_figures(rows: list[dict], drafts: list[str]) -> dict[str, float]:
    """f of the draft when the world's own wording is added for a right and for a wrong principle."""
    right, wrong = [], []
    for row, y in zip(rows, drafts, strict=True):
        slots, keys = row["meta"]["slots"], row["meta"]["attributes"]
        scores = {k: mean([rouge_l(e, row["gold"]) for e in realise_slots(y, slots, k)]) for k in ATTRIBUTES}
        right.append(scores[keys[0]])
        wrong += [score for k, score in scores.items() if k not in keys]
    return {
        "f of the oracle's edit, right principle": mean(right),
        "f of the oracle's edit, wrong principle": mean(wrong),
    }
