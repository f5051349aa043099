"""Exports the pretrained model in float16, loads it back, and writes its model card from measured figures."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from data.demo.builder import world
from data.demo.builder.card import render_card
from data.demo.builder.measure import measure
from data.demo.builder.pretrain import pretrain

MODEL_FILES = ("model.safetensors", "tokenizer.json")


def sha256(path: Path) -> str:
    """The hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def held_out_prompts(out: Path) -> frozenset[str]:
    """The prompts of all data sets: pretraining draws none of them."""
    return frozenset(
        row["messages"][0]["content"] for split in world.SPLITS for row in world.load_split(out, split)
    )


def train_and_export(out: Path, runs: Path, minutes: float, seed: int) -> None:
    """Pretrain (or resume), then write the model folder."""
    model, tokenizer, progress = pretrain(runs, minutes, seed, held_out_prompts(out))
    export(model, tokenizer, out / "model", {**asdict(progress), "minutes": minutes})


def export(model: torch.nn.Module, tokenizer, folder: Path, provenance: dict) -> None:
    """Write weights in float16, tokenizer, generation settings and the provenance that the card quotes."""
    folder.mkdir(parents=True, exist_ok=True)
    half = AutoModelForCausalLM.from_config(model.config, dtype=torch.float16)
    half.load_state_dict({k: v.to(torch.float16) for k, v in model.state_dict().items()})
    half.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, max_new_tokens=128
    )
    half.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(folder)
    (folder / "provenance.json").write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")


def load(folder: Path):
    """The shipped model in float32, and its tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    return model, AutoTokenizer.from_pretrained(folder, local_files_only=True)


def measure_and_write_card(out: Path) -> None:
    """Measure the shipped model on dev and on the shifted sets, print the figures, write the card."""
    folder = out / "model"
    model, tokenizer = load(folder)
    torch.manual_seed(0)
    figures = {
        split: measure(model, tokenizer, out, split) for split in ("dev", "shifted_topics", "shifted_cues")
    }
    print(json.dumps(figures, indent=2))
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    digests = {name: sha256(folder / name) for name in MODEL_FILES}
    parameters = sum(p.numel() for p in model.parameters())
    card = render_card(provenance, digests, figures, parameters, len(tokenizer))
    (folder / "README.md").write_text(card, encoding="utf-8")
