"""Checkpoint folders on disk: what makes one usable, its digest, and which resume point is whole."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from math import prod
from pathlib import Path

from lpd_core.errors import UserError

OPTIMISERS = ("optimizer.pt", "optimizer.bin", "global_step*", "optimizer_*")
"""What holds the optimiser's state: of one process, FSDP gathered, DeepSpeed, FSDP spread."""
BLOCK = 1 << 20


def check_model_folder(path: Path) -> None:
    """Raises `UserError` unless `path` is a folder with a config and whole safetensors weights."""
    if not path.is_dir():
        raise UserError(f"there is no model folder {path}; give the folder of a transformers checkpoint")
    if not (path / "config.json").is_file():
        raise UserError(f"{path} has no config.json, so it is no transformers checkpoint")
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        pickled = next((file.name for file in sorted(path.glob("*.bin"))), None)
        found = f"only {pickled}, a pickle, which can run code when loaded" if pickled else "no weights"
        raise UserError(
            f"{path} has {found}; convert it to safetensors (load it where you trust it, then "
            "save_pretrained), since nothing else is loaded here"
        )
    torn = [file.name for file in weights if not _is_whole_safetensors(file)]
    if torn or not _has_all_shards(path):
        missing = ", ".join(torn) or "a shard is missing"
        raise UserError(f"the weights in {path} are incomplete ({missing}); copy them again")


def model_digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of a checkpoint's safetensors files, sorted by name.

    Raises `UserError` as `check_model_folder` does."""
    check_model_folder(folder)
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(file.name.encode() + b"\0" + file.stat().st_size.to_bytes(8, "big"))
        with file.open("rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()


def weight_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of a checkpoint's folder, by name, from the heads of its safetensors files."""
    from safetensors import safe_open

    shapes = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="numpy") as tensors:
            shapes |= {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118 (not a mapping)
    return shapes


def parameter_count(folder: Path) -> int:
    """How many numbers the weights of a checkpoint's folder are."""
    return sum(map(prod, weight_shapes(folder).values()))


def last_whole_checkpoint(work_dir: Path) -> Path | None:
    """The newest `checkpoint-N` that a killed trainer finished writing, after removing any newer, torn one.

    The trainer writes in place, so the newest may be torn; left there, it would count among those kept."""
    numbered = {int(path.name.removeprefix("checkpoint-")): path for path in work_dir.glob("checkpoint-*")}
    for _, folder in sorted(numbered.items(), reverse=True):
        if _is_whole_checkpoint(folder):
            return folder
        shutil.rmtree(folder)
    return None


def _is_whole_checkpoint(folder: Path) -> bool:
    try:
        json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    weights = list(folder.glob("*.safetensors"))
    optimisers = [path for pattern in OPTIMISERS for path in folder.glob(pattern)]
    # Each process writes the state of its random numbers; a run of other processes begins anew.
    states = [*folder.glob("rng_state*.pth"), folder / "scheduler.pt", *filter(Path.is_file, optimisers)]
    whole = all(map(zipfile.is_zipfile, states))  # torch.save writes zip files
    has_all = bool(weights and optimisers) and any(folder.glob("rng_state*.pth"))
    return has_all and whole and all(map(_is_whole_safetensors, weights)) and _has_all_shards(folder)


def _is_whole_safetensors(file: Path) -> bool:
    """Does the header parse and does the file have the length it tells?"""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as tensors:
            return bool(tensors.keys())
    except (SafetensorError, OSError):
        return False


def _has_all_shards(folder: Path) -> bool:
    for index in folder.glob("*.safetensors.index.json"):
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        if not all((folder / shard).is_file() for shard in shards):
            return False
    return True
