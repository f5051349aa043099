"""The settings of a run one by one: what a form shows for each, what differs, and the command line that says the same.

Made from the pydantic tree in `config`, so that a new setting appears in every form by itself. A setting's key
is its path in the tree (`e_step.draft.max_tokens`); values are plain ones, as in TOML.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from lpd_core.config import RunConfig, explain_error, load_config

Kind = Literal["switch", "choice", "integer", "number", "text", "texts", "integers", "sources", "shares"]
"""A form's widget: on or off, one of a few, a whole number, a number, a text, a list of texts, a list of whole
numbers, or names with a source or a number each."""
LISTS: Mapping[Any, Kind] = {
    list[str]: "texts",
    list[int]: "integers",
    dict[str, str]: "sources",
    dict[str, int | float]: "shares",
}
SCALARS: Mapping[Any, Kind] = {bool: "switch", int: "integer", float: "number", str: "text"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its key, the kind of its value, what is allowed (`low` and `high` belong to the allowed
    values unless `above` or `below`), its default and its help text. An `optional` one may be unset (None)."""

    key: str
    kind: Kind
    help: str
    default: Any
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    above: bool = False
    below: bool = False
    optional: bool = False

    @property
    def group(self) -> str:
        """The key of the section it stands in; empty at the top."""
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        """The last part of the key, in words."""
        return self.key.rpartition(".")[2].replace("_", " ")


@cache
def settings() -> dict[str, Setting]:
    """Every setting by its key, in the order of the tree."""
    return {setting.key: setting for setting in _walk(RunConfig, "")}


@cache
def groups() -> dict[str, str]:
    """The sections by their key with what they are about, in the order of the tree; nested ones after their parent."""
    found: dict[str, str] = {}
    for setting in settings().values():
        found.setdefault(setting.group, _about(setting.group))
    return found


def _about(group: str) -> str:
    section: Any = RunConfig
    for part in group.split(".") if group else ():
        field = section.model_fields[part]
        section = field.annotation
        if field.description:
            return " ".join(field.description.split())
    return " ".join((section.__doc__ or "").split())


def _walk(section: type[BaseModel], path: str):
    fields = section.model_fields
    for name, field in fields.items():
        if not _is_section(field):
            yield _setting(f"{path}{name}", field)
    for name, field in fields.items():
        if _is_section(field):
            yield from _walk(field.annotation, f"{path}{name}.")


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _setting(key: str, field: FieldInfo) -> Setting:
    kinds = [kind for kind in get_args(field.annotation) if kind is not NoneType]
    optional = NoneType in get_args(field.annotation)
    annotation = kinds[0] if optional else field.annotation
    is_choice = get_origin(annotation) is Literal
    return Setting(
        key=key,
        kind="choice" if is_choice else (LISTS.get(annotation) or SCALARS[annotation]),
        help=" ".join((field.description or "").split()),
        default=_default(key),
        choices=get_args(annotation) if is_choice else (),
        optional=optional,
        **_bounds(field),
    )


def _default(key: str) -> Any:
    """The value of an untouched configuration: a section may set others than its class does."""
    value: Any = RunConfig()
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _bounds(field: FieldInfo) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for limit in field.metadata:
        match limit:
            case annotated_types.Ge():
                found |= {"low": limit.ge}
            case annotated_types.Gt():
                found |= {"low": limit.gt, "above": True}
            case annotated_types.Le():
                found |= {"high": limit.le}
            case annotated_types.Lt():
                found |= {"high": limit.lt, "below": True}
    return found


def flatten(config: RunConfig) -> dict[str, Any]:
    """Every setting's value by its key."""
    tree = config.model_dump(mode="json")
    return {key: _at(tree, key) for key in settings()}


def _at(tree: Mapping[str, Any], key: str) -> Any:
    value: Any = tree
    for part in key.split("."):
        value = value[part]
    return value


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by key as the tree that `parse_config` reads."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *path, name = key.split(".")
        section = tree
        for part in path:
            section = section.setdefault(part, {})
        section[name] = value
    return tree


def differences(config: RunConfig, base: RunConfig) -> dict[str, Any]:
    """The settings in which a configuration differs from another, with the configuration's values."""
    there = flatten(base)
    return {key: value for key, value in flatten(config).items() if value != there[key]}


def problems(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with a full set of values, by the key of the setting (or of the section) it is about."""
    try:
        RunConfig.model_validate(nest(values))
    except ValidationError as cause:
        return {_key_of(error["loc"]): explain_error(error) for error in cause.errors()}
    return {}


def _key_of(location: tuple[str | int, ...]) -> str:
    """The setting that an error's place belongs to: a list's item is its list's."""
    parts = [str(part) for part in location]
    while parts and ".".join(parts) not in settings() and ".".join(parts) not in groups():
        parts.pop()
    return ".".join(parts)


def assignment(key: str, value: Any) -> str:
    """`key=value` as `--set` reads it. Raises `ValueError` for an unset value, which it cannot say."""
    if value is None:
        raise ValueError(f"{key} cannot be unset by --set")
    return f"{key}={_toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):  # a JSON string is a TOML string, but for the one sign that TOML wants escaped
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)


def command(config: RunConfig, preset: str | None, file: str = "run.toml") -> str:
    """The shell command that starts this run: the preset with the settings that differ from it, or the
    configuration saved as `file` where there is no preset or `--set` cannot say the difference."""
    program = "python -m lpd_core run"
    sets = None if preset is None else _assignments(config, preset)
    if sets is None:
        return f"{program} --config {shlex.quote(file)}"
    options = [f"--set {shlex.quote(each)}" for each in sets]
    return " ".join([program, f"--preset {shlex.quote(preset or '')}", *options])


def _assignments(config: RunConfig, preset: str) -> list[str] | None:
    """The fewest assignments that make the configuration out of a preset; None where there are none that do.

    Setting one value of a section that the preset leaves alone resets the others of it to their class's defaults,
    so what then differs is set as well."""
    changed: dict[str, Any] = {}
    loaded = load_config(preset)
    while more := differences(config, loaded):
        if None in more.values() or more.keys() <= changed.keys():
            return None
        changed |= more
        loaded = load_config(preset, None, [assignment(key, value) for key, value in changed.items()])
    return [assignment(key, value) for key, value in changed.items()]
