"""A trained checkpoint out of a run: copied to a folder, or pushed to the hub."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lpd_core.corpus.hub import is_offline
from lpd_core.errors import UserError, suggest
from lpd_core.model_card import write_card
from lpd_core.model_files import check_model_folder
from lpd_core.store import RunFolder, Store
from lpd_core.store.run_folder import sync_names, sync_tree
from lpd_core.trained_model import RESULT

TOKEN = "HF_TOKEN"  # noqa: S105 (the name of a variable)


def exported_model(store: Store, folder: RunFolder, iteration: int) -> Path:
    """The folder of an iteration's whole checkpoint, its card brought up to date. Raises `UserError`."""
    checkpoint = folder.checkpoint(iteration)
    if not checkpoint.is_dir():
        there = sorted(path.name.removeprefix("iter-") for path in checkpoint.parent.glob("iter-*[0-9]"))
        known = suggest(str(iteration), there) if there else "it has none yet"
        raise UserError(f"run {folder.run_id} has no model of iteration {iteration}; {known}")
    check_model_folder(checkpoint)
    write_card(store, folder, iteration)
    return checkpoint


def copy_model(checkpoint: Path, target: Path) -> None:
    """Copy a checkpoint without the record of its training, whole or not at all. Raises `UserError` where
    something is at the target already."""
    if target.exists():
        raise UserError(f"{target} exists; nothing is overwritten: name another folder")
    temporary = target.with_name(f"{target.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        shutil.copytree(checkpoint, temporary, ignore=shutil.ignore_patterns(RESULT))
        sync_tree(temporary)
        temporary.rename(target)
        sync_names(target.parent)
    except OSError as cause:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(f"cannot copy the model to {target}: {cause}") from cause


def push_model(checkpoint: Path, repository: str, public: bool) -> str:
    """Upload a checkpoint to a model repository of the hub, made private where it is new unless `public`; its
    address. The token comes from the environment and is kept nowhere. Raises `UserError` in one line."""
    from huggingface_hub import HfApi

    token = os.environ.get(TOKEN)
    if not token:
        raise UserError(f"the hub wants a token that may write; set ${TOKEN}")
    if is_offline():
        raise UserError(f"{repository} cannot be pushed: HF_HUB_OFFLINE is set; unset it, or copy with --to")
    api = HfApi(token=token)
    try:
        api.create_repo(repository, private=not public, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=checkpoint, ignore_patterns=[RESULT])
    except Exception as cause:  # the client raises its own, its HTTP library's and the system's errors
        reason = " ".join(str(cause).split()) or type(cause).__name__
        raise UserError(
            f"{repository} cannot be pushed ({reason[:200]}); check name, token and network, or copy with --to"
        ) from cause
    return f"{api.endpoint}/{repository}"
