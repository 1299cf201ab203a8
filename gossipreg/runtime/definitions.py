"""Definition files: instances that TOML files define, and the registrations that follow them.

The agent's own file and those of a directory may hold tables ``[[services]]``, each an instance with the fields of a
registration. Only the last valid content of each file is remembered. What is to be done follows from what the files say
now and what the node has registered now, so reading them again is always safe.

- What files define is marked in the node's store. So a definition that was removed while the agent was down is not
  restored, and an instance that was registered otherwise is never taken for a removed definition.
- A file that is invalid stands for its last valid content.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import attrs

from gossipreg.agent_config import SERVICES
from gossipreg.errors import ConfigError, InvalidInstance
from gossipreg.protocol.registry.credentials import packed
from gossipreg.runtime.files import check_directory, read_toml
from gossipreg.runtime.node import Node
from gossipreg.runtime.registrations import LocalRegistration
from gossipreg.spec import InstanceSpec


class LocatedSpec(NamedTuple):
    """A specification and its place, for people: its file and the number of its table."""

    where: str
    spec: InstanceSpec


class ReadDefinitions(NamedTuple):
    """The definitions in the files, and one error for each file that cannot be used."""

    located: tuple[LocatedSpec, ...]
    wrong: tuple[ConfigError, ...]


@attrs.define(eq=False, repr=False)
class DefinitionFiles:
    """The files that define services: the agent's own, if it has one, and each ``*.toml`` of a directory.

    ``commands``: whether their checks may run commands.
    """

    file: Path | None
    directory: Path | None
    commands: bool
    _last_valid: dict[Path, tuple[LocatedSpec, ...]] = attrs.field(init=False, factory=dict)  # by file

    def read(self) -> ReadDefinitions:
        """Read them now. It blocks on the disk."""
        wrong: list[ConfigError] = []
        now: dict[Path, tuple[LocatedSpec, ...]] = {}
        files = [] if self.file is None else [self.file]
        try:
            files += self._listed()
        except ConfigError as error:
            wrong.append(error)
            now = {file: located for file, located in self._last_valid.items() if file != self.file}
        for file in files:
            try:
                now[file] = tuple(self._located(file))
            except ConfigError as error:
                wrong.append(error)
                now[file] = self._last_valid.get(file, ())
        self._last_valid = now
        return ReadDefinitions(tuple(located for each in now.values() for located in each), tuple(wrong))

    def _listed(self) -> Iterator[Path]:
        if self.directory is None:
            return
        try:
            if self.commands:  # another user that can add a file could run any command
                check_directory(self.directory)
            names = sorted(each.name for each in self.directory.iterdir())
        except OSError as error:
            raise ConfigError(
                f"services_dir: cannot read {self.directory}: {error.strerror}: make it a directory of TOML files"
            ) from None
        yield from (self.directory / name for name in names if name.endswith(".toml") and name[0] != ".")

    def _located(self, file: Path) -> Iterator[LocatedSpec]:
        document = read_toml(file, is_secret=_has_credentials, trusted=self.commands)
        if file != self.file and document.keys() - {SERVICES}:
            unknown = min(document.keys() - {SERVICES})
            raise ConfigError(f"{file}: unknown key {unknown!r}: write [[services]], and below it service and port")
        tables = document.get(SERVICES, [])
        if not isinstance(tables, list):
            raise ConfigError(f"{file}: {SERVICES}: is not a list of tables: write [[services]] above each")
        for number, table in enumerate(tables, 1):
            where = f"{file}: service {number}"
            try:
                yield LocatedSpec(where, self._spec(table))
            except InvalidInstance as error:
                raise ConfigError(f"{where}: {error}") from None

    def _spec(self, table: object) -> InstanceSpec:
        """The specification in a table, with every check applied. Raises ``InvalidInstance``."""
        if not isinstance(table, Mapping):
            raise InvalidInstance(
                None, f"{table!r:.80} is not a table: write [[services]], and below it service and port"
            )
        spec = InstanceSpec.read(table)
        if not self.commands and spec.runs_commands:
            raise InvalidInstance("checks", 'commands are off on this node: set command_checks to "own" or "api"')
        packed(spec.credentials)
        LocalRegistration.of(spec, member="member", host="127.0.0.1", zone="").check_room()
        return spec


def _has_credentials(document: Mapping[str, Any]) -> bool:
    """Whether only the agent's user may read the file."""
    tables = document.get(SERVICES)
    return isinstance(tables, list) and any("credentials" in table for table in tables if isinstance(table, Mapping))


def by_id(located: Sequence[LocatedSpec], member: str) -> dict[str, LocatedSpec]:
    """The definitions by the ids that they get on this member. Raises ``ConfigError`` when two share one."""
    found: dict[str, LocatedSpec] = {}
    for each in located:
        first = found.setdefault(each.spec.id_on(member), each)
        if first is not each:
            raise ConfigError(
                f"{each.where}: id: {each.spec.id_on(member)!r} is that of {first.where} too: "
                "give each an id of its own"
            )
    return found


async def define(node: Node, located: Sequence[LocatedSpec]) -> list[ConfigError]:
    """Have ``node`` register exactly this of all that files define; what was registered otherwise is left alone.

    An unchanged instance goes on as it is, with its checks and maintenance. Returns the errors of those that cannot be
    registered: they stay as they were. Raises ``ConfigError``, and has done nothing, when two share an id.
    """
    lifecycle = node._lifecycle  # noqa: SLF001 -- for agents only: a verb of the node would have to be one of embedded nodes, too
    wanted = by_id(located, node.name)
    host, zone = node.address.host, lifecycle.context.engine.identity.zone
    failed = await lifecycle.defined_instances.define(
        [LocalRegistration.of(each.spec, member=node.name, host=host, zone=zone) for each in wanted.values()]
    )
    return [ConfigError(f"{wanted[id].where if id in wanted else id}: {error}") for id, error in failed.items()]
