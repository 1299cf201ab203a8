"""Knows where an agent's settings come from: flags, then the environment, then a file, then the defaults.

Every value is checked as it is read, by building a configuration of that one value: so the sentence about a bad
one can say where it was written.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from gossipreg.config import SERVICES, AgentConfig, Settings
from gossipreg.errors import ConfigError
from gossipreg.runtime.toml import read_toml

#: What the name of every environment variable starts with.
PREFIX: Final = "GOSSIPREG_"

#: The variable that names the file, as ``--config`` does.
FILE_VARIABLE: Final = f"{PREFIX}CONFIG"

#: Settings without a flag: a key on the command line is read by everybody with ``ps``, and a page of protocol flags
#: by nobody.
_WITHOUT_FLAG: Final = frozenset({"key", "credential_key"})


@attrs.frozen
class Kind:
    """One type of setting: what it is called, and how it is read from a file's value and from a variable's text.

    Both readers raise ``ValueError`` or ``TypeError`` for what they cannot read.
    """

    noun: str
    from_file: Callable[[Any], Any]
    from_text: Callable[[str], Any]


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _finite(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError
    return float(value)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(_string(item) for item in value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _spoken_truth(text: str) -> bool:
    try:
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
    except KeyError:
        raise ValueError from None


_KINDS: Final[Mapping[Any, Kind]] = {
    str: Kind("a string", _string, str),
    str | None: Kind("a string", _string, str),
    Path | None: Kind("a path", _string, str),
    int: Kind("a whole number", _whole, int),
    float: Kind("a number", _finite, lambda text: _finite(float(text))),
    bool: Kind("true or false", _truth, _spoken_truth),
    tuple[str, ...]: Kind(
        "a list of strings", _strings, lambda text: tuple(part.strip() for part in text.split(",") if part.strip())
    ),
}


@attrs.frozen
class Setting:
    """One setting of an agent, by the key that a file gives it: ``bind``, ``protocol.probe_interval``."""

    key: str
    kind: Kind
    default: Any
    doc: str

    @property
    def name(self) -> str:
        """The key without its table."""
        return self.key.rpartition(".")[2]

    @property
    def variable(self) -> str:
        """The environment variable that carries it."""
        return PREFIX + self.key.replace(".", "_").upper()

    @property
    def flag(self) -> str | None:
        """The flag of ``gossipreg agent`` that carries it, if one does."""
        return None if self.key in _WITHOUT_FLAG or "." in self.key else f"--{self.key.replace('_', '-')}"

    @property
    def shown_default(self) -> str:
        """The default as a person would write it; empty if there is none."""
        if self.default in (None, "", ()):
            return ""
        if isinstance(self.default, tuple):
            return ",".join(self.default)
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)

    def checked(self, value: Any, where: str) -> Any:
        """``value``, or a ``ConfigError`` that says where it was written and why it cannot be used."""
        owner = Settings if "." in self.key else AgentConfig
        try:
            owner(**{self.name: value})
        except ConfigError as error:
            raise ConfigError(f"{where}: {str(error).removeprefix(f'{self.key}: ')}") from None
        return value


def _settings_of(owner: type[Any], table: str = "") -> Iterator[Setting]:
    types = typing.get_type_hints(owner)
    for field in attrs.fields(owner):
        if types[field.name] is Settings:
            yield from _settings_of(Settings, f"{field.name}.")
        else:
            yield Setting(table + field.name, _KINDS[types[field.name]], field.default, field.metadata["doc"])


#: Every setting of an agent, by its key, in the order of the page that documents them.
SETTINGS: Final[Mapping[str, Setting]] = {setting.key: setting for setting in _settings_of(AgentConfig)}


def load(flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None) -> AgentConfig:
    """Put a configuration together. ``flags`` are by name, those not given being None, False or empty.

    Raises ``ConfigError`` that names the flag, the variable or the file and its key.
    """
    chosen: dict[str, Any] = {}
    for layer in (() if file is None else _from_file(file), _from_environment(environ), _from_flags(flags)):
        chosen.update(layer)
    protocol = {SETTINGS[key].name: value for key, value in chosen.items() if "." in key}
    plain = {key: value for key, value in chosen.items() if "." not in key}
    return AgentConfig(**plain, protocol=Settings(**protocol))


def misspelt(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Variables that look like a setting's but are not, each with the one probably meant.

    Not refused: Kubernetes, for one, gives every container variables such as ``GOSSIPREG_SERVICE_HOST`` once a
    service is called gossipreg.
    """
    known = {setting.variable for setting in SETTINGS.values()} | {FILE_VARIABLE}
    strange = [name for name in environ if name.startswith(PREFIX) and name not in known]
    bare = [name.removeprefix(PREFIX) for name in known]
    for name in strange:
        meant = nearest(name.removeprefix(PREFIX), bare, likeness=0.7)
        if meant is not None:
            yield name, PREFIX + meant


def nearest(word: str, words: Iterable[str], likeness: float = 0.6) -> str | None:
    """The one of ``words`` that ``word`` was probably meant to be, if any comes near."""
    from difflib import get_close_matches  # needed only on the way to an error

    matches = get_close_matches(word, sorted(words), n=1, cutoff=likeness)
    return matches[0] if matches else None


def _from_flags(flags: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in flags.items():
        if value is not None and value is not False and value != ():
            setting = SETTINGS[key]
            yield key, setting.checked(value, str(setting.flag))


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for key, setting in SETTINGS.items():
        if text := environ.get(setting.variable):
            value = _read(setting, setting.kind.from_text, text, setting.variable)
            yield key, setting.checked(value, setting.variable)


def _from_file(file: Path) -> Iterator[tuple[str, Any]]:
    for key, value in _flat(read_toml(file), file):
        if key not in SETTINGS:
            raise ConfigError(f"{file}: unknown key {key!r}: {_hint(key)}")
        setting, where = SETTINGS[key], f"{file}: {key}"
        yield key, setting.checked(_read(setting, setting.kind.from_file, value, where), where)


def _flat(table: Mapping[str, Any], file: Path) -> Iterator[tuple[str, Any]]:
    """The file's settings with their tables' names before them. A setting is never a table itself."""
    for key, value in table.items():
        if key == SERVICES:
            continue
        if key != "protocol":
            yield key, value
        elif isinstance(value, dict):
            yield from ((f"protocol.{name}", inner) for name, inner in value.items())
        else:
            raise ConfigError(f"{file}: protocol: {value!r} is not a table: write [protocol] and its keys below")


def _hint(key: str) -> str:
    meant = nearest(key, [*SETTINGS, SERVICES])
    if meant is not None:
        return f"did you mean {meant!r}?"
    keys = ", ".join(key for key in SETTINGS if "." not in key)
    return f"the keys are {keys}, those of [protocol], and tables [[{SERVICES}]]"


def _read(setting: Setting, reader: Callable[[Any], Any], value: Any, where: str) -> Any:
    try:
        return reader(value)
    except (TypeError, ValueError):
        shown = "it" if setting.key in _WITHOUT_FLAG else repr(value)  # a key is shown to nobody
        raise ConfigError(f"{where}: {shown} is not {setting.kind.noun}") from None
