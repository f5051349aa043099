"""Chats as the text a model reads: the tokenizer with its chat template, and what it renders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lpd_core.config import resolve_path
from lpd_core.errors import UserError
from lpd_core.model_config import ModelConfig
from lpd_core.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
PLACEHOLDER = "\ue000\ue001"  # private use: no template contains it
THINK, END_THINK = "<think>", "</think>"
THINKING_OFF = "{%- set enable_thinking = false -%}{%- set thinking = false -%}"
"""What Qwen's and Granite's templates, and those made after them, ask for; others ignore it."""


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


def load_tokenizer(path: str, settings: ModelConfig | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint's folder or hub name, proved to have a chat template, which the settings may
    replace or tell not to think.

    Raises `UserError` when there is no checkpoint, no tokenizer or no chat template. A folder is read without
    touching the network."""
    from transformers import AutoTokenizer

    settings = settings or ModelConfig()
    local = is_local(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            path, trust_remote_code=settings.trust_remote_code, local_files_only=local
        )
    except (OSError, ValueError, KeyError, ImportError) as cause:
        where = "" if local else " (there is no such folder here, and no such model came from the hub)"
        raise UserError(f"could not load the tokenizer of {path}{where}: {first_line(cause)}") from cause
    if settings.chat_template:
        tokenizer.chat_template = _read_template(settings.chat_template)
    if isinstance(tokenizer.chat_template, dict):  # several by name; chats without tools are the default's
        tokenizer.chat_template = tokenizer.chat_template.get("default")
    if not tokenizer.chat_template:
        raise UserError(
            f"the tokenizer of {path} has no chat template, the text around each turn, so it cannot be "
            "sent chats; take its chat or instruct version, name a Jinja file in model.chat_template, or add a "
            "chat_template.jinja to the folder"
        )
    if settings.thinking == "off" and not tokenizer.chat_template.startswith(THINKING_OFF):
        tokenizer.chat_template = THINKING_OFF + tokenizer.chat_template
    return tokenizer


def _read_template(file: str) -> str:
    try:
        return resolve_path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        raise UserError(f"cannot read model.chat_template {file}: {cause}") from cause


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
        return _apply(tokenizer, fold_system(chat))
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


def opens_thinking(text: str) -> bool:
    """Does a rendered prompt leave the model inside a `<think>` block?"""
    return text.rstrip().endswith(THINK)


def folds_system(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Has the template no place for a system turn, so that `render` puts it into the first user turn?"""
    turns = [{"role": "system", "content": PLACEHOLDER}, {"role": "user", "content": "?"}]
    folded = render(tokenizer, fold_system(turns))
    return render(tokenizer, turns) == folded


def _apply(tokenizer: PreTrainedTokenizerBase, chat: Sequence[Message]) -> str:
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    if opens_thinking(text) and tokenizer.chat_template.startswith(THINKING_OFF):
        return f"{text.rstrip()}\n\n{END_THINK}\n\n"  # the template opens one whatever it is told
    return text


def fold_system(chat: Sequence[Message]) -> list[Message]:
    """The chat with its system turn at the head of its first user turn."""
    system, *rest = chat
    first = next((n for n, message in enumerate(rest) if message["role"] == "user"), None)
    if first is None:
        return [{"role": "user", "content": system["content"]}, *rest]
    merged = {**rest[first], "content": f"{system['content']}\n\n{rest[first]['content']}"}
    return [*rest[:first], merged, *rest[first + 1 :]]
