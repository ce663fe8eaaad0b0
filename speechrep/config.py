"""YAML -> frozen dataclass -> constructor, one way, once. The only reader of YAML in the package."""

import dataclasses
import difflib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from speechrep.errors import SpeechrepError
from speechrep.files import write_text

T = TypeVar("T")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file. A missing file, bad syntax or anything but a mapping is a `SpeechrepError`."""
    path = Path(path)
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpeechrepError(f"{path}: no such file", "a YAML configuration", "name one from the recipe's conf/") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpeechrepError(f"{path}: not readable as YAML: {error}", "plain `key: value` lines") from None
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise SpeechrepError(f"{path}: a {type(value).__name__} at the top", "a mapping, `key: value` lines")
    return value


def write_yaml(path: str | Path, value: dict[str, Any]) -> None:
    """Write a mapping of plain values, in its own order, atomically."""
    write_text(path, yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110))


def apply_overrides(mapping: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """A copy of `mapping` in which each `a.b=value` has been set; the value is read as YAML, so `lr=1e-3` is a number; after
    `a.b=` nothing is the empty text."""
    result = _copy(mapping)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise SpeechrepError(f"--set {override}", "key=value, as in --set train.steps=1000")
        *parents, last = key.strip().split(".")
        node = result
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise SpeechrepError(f"--set {override}: {parent} is a value, not a section")
        node[last] = yaml.safe_load(text) if text.strip() else ""
    return result


def build(cls: type[T], mapping: dict[str, Any], where: str = "") -> T:
    """The frozen dataclass `cls` with the values of `mapping`.

    Nested dataclasses are built from nested mappings, tuples from lists, numbers from strings such as "1e-3" (which
    YAML reads as text). An unknown key is refused with the nearest right one, a wrong type with both types.
    `where` names the place in messages, for example "conf/ctap.yaml: model".
    """
    where = where or cls.__name__
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in mapping:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1, cutoff=0.0)
            raise SpeechrepError(f"{where}: unknown key '{key}'", f"one of {', '.join(fields)}",
                                 f"did you mean '{near[0]}'?" if near else "")
    values = {key: _convert(hints[key], value, f"{where}.{key}") for key, value in mapping.items()}
    missing = [name for name, field in fields.items() if name not in values
               and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING]
    if missing:
        raise SpeechrepError(f"{where}: no value for {', '.join(missing)}", cure="add the missing keys")
    try:
        return cls(**values)
    except ValueError as error:
        raise SpeechrepError(f"{where}: {error}") from None


def plain(config: Any) -> Any:
    """A config (dataclass, tuple, ...) as plain values that YAML, JSON and a weights-only checkpoint can hold."""
    if dataclasses.is_dataclass(config):
        return {field.name: plain(getattr(config, field.name)) for field in dataclasses.fields(config) if field.init}
    if isinstance(config, dict):
        return {key: plain(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [plain(value) for value in config]
    return config


def with_defaults(cls: type, known: dict[str, Any]) -> dict[str, Any]:
    """The plain values `known` of a config that an earlier version of `cls` wrote, with the fields that it did not know yet.
    What it knew and we do not stays, and so differs."""
    names = {field.name for field in dataclasses.fields(cls)}
    try:
        return known | plain(build(cls, {name: known[name] for name in known if name in names}))
    except SpeechrepError:
        # A field without a default cannot be filled: it is another then.
        return known


def _copy(value: Any) -> Any:
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, dict) else value


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(arg for arg in args if arg is not type(None)), value, where)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return build(hint, value, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_convert(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
        if len(args) == len(value):
            return tuple(_convert(arg, item, f"{where}[{i}]") for i, (arg, item) in enumerate(zip(args, value)))
    if origin is dict and isinstance(value, dict):
        return {str(key): _convert(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    if hint is int and isinstance(value, (int, float)) and not isinstance(value, bool) and value == int(value):
        return int(value)
    if hint in (bool, str) and isinstance(value, hint):
        return value
    if origin is typing.Literal:
        if value in args:
            return value
        raise SpeechrepError(f"{where}: {value!r}", f"one of {', '.join(map(str, args))}")
    wanted = getattr(hint, "__name__", None) if not args else str(hint)
    raise SpeechrepError(f"{where}: {value!r} is a {type(value).__name__}", f"a {wanted}")
