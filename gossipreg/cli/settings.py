"""Settings of an agent, from flags, then the environment, then a file, then the defaults.

Every value is checked as it is read, even one that another outranks, so that the error names the place where it was
written. All bad values are named at once, in one line. What must hold between settings is checked last, when it is
known which values count.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import attrs

from gossipreg.agent_config import SERVICES, AgentConfig
from gossipreg.errors import ConfigError, InvalidSetting
from gossipreg.federation import TABLES, Federation
from gossipreg.fields import Choice, FieldKind, Texts
from gossipreg.runtime.files import read_toml
from gossipreg.settings import Settings
from gossipreg.text import nearest
from gossipreg.values import frozen

#: What the name of every environment variable starts with.
PREFIX: Final = "GOSSIPREG_"

#: The variable that names the file, as ``--config`` does.
FILE_VARIABLE: Final = f"{PREFIX}CONFIG"

#: Settings without a flag: any user of the machine can read a key on a command line. The protocol's settings have none
#: either: they would fill a page of help.
_WITHOUT_FLAG: Final = frozenset({"key", "credential_key"})


@frozen
class Setting:
    """One setting of an agent, by the key that a file gives it: ``bind``, ``protocol.probe_interval``."""

    key: str
    kind: FieldKind
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


class FoundValue(NamedTuple):
    """A value for a setting, and the place where it was written: a flag, a variable, or a file and its key."""

    key: str
    value: Any
    where: str


def _settings_of(owner: type[Any], table: str = "") -> Iterator[Setting]:
    types = typing.get_type_hints(owner)
    for field in attrs.fields(owner):
        if field.name == TABLES:
            continue  # tables of a file only: see `_federations`
        if types[field.name] is Settings:
            yield from _settings_of(Settings, f"{field.name}.")
        else:
            yield Setting(table + field.name, field.metadata["kind"], field.default, field.metadata["doc"])


#: Which of `Settings.lan`, `wan` and `local` the agent begins with.
_PROFILE: Final = Setting(
    "profile",
    Choice(("lan", "wan", "local")),
    "lan",
    "The network that the protocol's settings are for: lan (round trips below 100 ms), wan (up to a second) or local "
    "(one machine). [protocol] changes single ones.",
)

#: Every setting of an agent, by its key, in the order of the page that documents them.
SETTINGS: Final[Mapping[str, Setting]] = {
    setting.key: setting
    for setting in sorted([*_settings_of(AgentConfig), _PROFILE], key=lambda setting: "." in setting.key)
}


def load(flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None) -> AgentConfig:
    """Put a configuration together. ``flags`` are by name, those not given being None, False or empty.

    Raises ``ConfigError`` that names the flag, the variable or the file and its key, of all that cannot be used.
    """
    found = [*(() if file is None else _from_file(file)), *_from_environment(environ), *_from_flags(flags)]
    wrong = [
        f"{each.where}: {sentence}"
        for each in found
        if (sentence := SETTINGS[each.key].kind.wrong(each.value)) is not None
    ]
    if wrong:
        raise ConfigError("; ".join(wrong))
    chosen = {each.key: each for each in found}
    protocol = {SETTINGS[key].name: each.value for key, each in chosen.items() if "." in key}
    plain = {key: each.value for key, each in chosen.items() if "." not in key}
    made = {"lan": Settings.lan, "wan": Settings.wan, "local": Settings.local}[plain.pop("profile", _PROFILE.default)]
    try:
        return AgentConfig(**plain, protocol=made(**protocol), federate=() if file is None else _federations(file))
    except InvalidSetting as error:
        places = ", ".join(chosen[key].where for key in error.fields if key in chosen)
        raise ConfigError(f"{error} (see {places})") from None


def misspelled_variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Variables that look like a setting's but are not, each with the one that was probably meant.

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


def _from_flags(flags: Mapping[str, Any]) -> Iterator[FoundValue]:
    for key, value in flags.items():
        if value is not None and value is not False and value != ():
            kind = SETTINGS[key].kind
            # A flag that may be given several times may also be given once, with commas, as its variable is.
            several = isinstance(kind, Texts) and isinstance(value, tuple)
            yield FoundValue(key, kind.from_text(",".join(value)) if several else value, str(SETTINGS[key].flag))


def _from_environment(environ: Mapping[str, str]) -> Iterator[FoundValue]:
    for key, setting in SETTINGS.items():
        if text := environ.get(setting.variable):
            yield FoundValue(key, setting.kind.from_text(text), setting.variable)


def _from_file(file: Path) -> Iterator[FoundValue]:
    for key, value in _flat(read_toml(file, is_secret=_has_secrets), file):
        if key not in SETTINGS:
            raise ConfigError(f"{file}: unknown key {key!r}: {_hint(key)}")
        yield FoundValue(key, SETTINGS[key].kind.from_file(value), f"{file}: {key}")


def _federations(file: Path) -> tuple[Federation, ...]:
    """The regions that the tables of ``file`` name. Raises ``ConfigError`` naming the table and its key."""
    tables = read_toml(file, is_secret=_has_secrets).get(TABLES, [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise ConfigError(f"{file}: {TABLES}: is not a list of tables: write [[{TABLES}]] above each")
    found = []
    for number, table in enumerate(tables, 1):
        try:
            found.append(Federation.read(table))
        except ConfigError as error:
            raise ConfigError(f"{file}: {TABLES} {number}: {error}") from None
    return tuple(found)


def _has_secrets(document: Mapping[str, Any]) -> bool:
    """Whether only the agent's user may read the file."""
    tables = document.get(TABLES)
    if isinstance(tables, list) and any("token" in table for table in tables if isinstance(table, dict)):
        return True
    return not document.keys().isdisjoint(("key", "credential_key"))


def _flat(table: Mapping[str, Any], file: Path) -> Iterator[tuple[str, Any]]:
    """The file's settings with their tables' names before them. A setting is never a table itself."""
    for key, value in table.items():
        if key in (SERVICES, TABLES):
            continue
        if key != "protocol":
            yield key, value
        elif isinstance(value, dict):
            yield from ((f"protocol.{name}", inner) for name, inner in value.items())
        else:
            raise ConfigError(f"{file}: protocol: {value!r} is not a table: write [protocol] and its keys below")


def _hint(key: str) -> str:
    meant = nearest(key, [*SETTINGS, SERVICES, TABLES])
    if meant is not None:
        return f"did you mean {meant!r}?"
    keys = ", ".join(key for key in SETTINGS if "." not in key)
    return f"the keys are {keys}, those of [protocol], and tables [[{SERVICES}]] and [[{TABLES}]]"
