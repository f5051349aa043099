"""Chats as the text a model reads: the tokenizer with its chat template, and what it renders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lpd_core.errors import UserError
from lpd_core.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
PLACEHOLDER = "\ue000\ue001"  # private use: no template contains it


def is_local(path: str) -> bool:
    """Is this a checkpoint's folder (and not a hub name)?

    Raises `UserError` when it can be neither, or when the folder holds no checkpoint."""
    folder = Path(path)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(
                f"{path} has no config.json, so it is no transformers checkpoint; name its folder"
            )
        return True
    if folder.exists() or not HUB_NAME.fullmatch(path):
        raise UserError(f"there is no model folder {path!r}; name a folder with a transformers checkpoint")
    return False


def load_tokenizer(path: str, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint's folder or hub name, proved to have a chat template.

    Raises `UserError` when there is no checkpoint, no tokenizer or no chat template. A folder is read without
    touching the network."""
    from transformers import AutoTokenizer

    local = is_local(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            path, trust_remote_code=trust_remote_code, local_files_only=local
        )
    except (OSError, ValueError, KeyError, ImportError) as cause:
        where = "" if local else " (there is no such folder here, and no such model came from the hub)"
        raise UserError(f"could not load the tokenizer of {path}{where}: {first_line(cause)}") from cause
    if not tokenizer.chat_template:
        raise UserError(
            f"the tokenizer of {path} has no chat template, the text around each turn, so it cannot be "
            "sent chats; take its chat or instruct version, or add a chat_template.jinja to the folder"
        )
    return tokenizer


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], system: str = "") -> str:
    """The chat as text up to where the assistant's next turn begins, with an optional system turn before it.

    A system turn that the template refuses or leaves out goes to the head of the first user turn. Raises
    `UserError` when the template refuses the chat itself."""
    from jinja2 import TemplateError

    chat = [dict(message) for message in messages]
    if system:
        chat.insert(0, {"role": "system", "content": system})
    opens_with_system = chat[0]["role"] == "system"
    try:
        try:
            text = _apply(tokenizer, chat)
            if not opens_with_system or chat[0]["content"].strip() in text:
                return text
        except TemplateError:
            if not opens_with_system:
                raise
        return _apply(tokenizer, _fold_system(chat))
    except TemplateError as cause:
        roles = ", ".join(message["role"] for message in chat)
        message = f"the model's chat template refuses a chat of the turns {roles}: {first_line(cause)}"
        raise UserError(message) from cause


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The special token that the template puts after an assistant's text, else the tokenizer's own end."""
    from jinja2 import TemplateError

    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": PLACEHOLDER}]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False)
    except TemplateError:
        return tokenizer.eos_token_id
    following = text.partition(PLACEHOLDER)[2].lstrip()
    specials = tokenizer.get_added_vocab()
    closing = max((name for name in specials if name and following.startswith(name)), key=len, default=None)
    return tokenizer.eos_token_id if closing is None else specials[closing]


def first_line(cause: Exception) -> str:
    """The first line of an error's message, or its kind where it says nothing."""
    return next(iter(str(cause).strip().splitlines()), type(cause).__name__)


def _apply(tokenizer: PreTrainedTokenizerBase, chat: list[dict[str, str]]) -> str:
    return tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)


def _fold_system(chat: list[dict[str, str]]) -> list[dict[str, str]]:
    system, *rest = chat
    first = next((n for n, message in enumerate(rest) if message["role"] == "user"), None)
    if first is None:
        return [{"role": "user", "content": system["content"]}, *rest]
    merged = {**rest[first], "content": f"{system['content']}\n\n{rest[first]['content']}"}
    return [*rest[:first], merged, *rest[first + 1 :]]
