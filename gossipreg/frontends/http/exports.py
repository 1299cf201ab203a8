"""Exports: what agents of other regions are told of this cluster: its directory of services, and its members."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import attrs

from gossipreg import limits
from gossipreg.federation import includes
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.response import encode
from gossipreg.model import Member
from gossipreg.values import frozen

#: Directories that are kept, one for each list of exported services.
_DIRECTORIES_MAX: Final = 64


@frozen
class ExportedDirectory:
    """The names of exported services, each with its tags, in JSON, and the digest of that."""

    body: bytes
    digest: str
    is_whole: bool = True  # there was room for all names


@attrs.define(eq=False, repr=False)
class Exports:
    """What is told to all followers of a listener: directories, and members by name, made once for each change."""

    _node: NodeApi
    _index: int = -1  # of everything, for which the rest holds
    _joined: bool = False
    _tags: dict[str, tuple[int, tuple[str, ...]]] = attrs.field(factory=dict)  # by service, with its index
    _directories: dict[tuple[str, ...], ExportedDirectory] = attrs.field(factory=dict)  # by patterns
    _members: dict[str, Member] = attrs.field(factory=dict)
    _run: str = ""

    @property
    def run(self) -> str:
        """What tells this run of this node from all others: indexes are those of one run."""
        if not self._run:
            self._run = f"{self._node.name}/{self._node.info().generation}"
        return self._run

    @property
    def joined(self) -> bool:
        """Whether the node has the state of its cluster."""
        self._joined = self._joined or self._node.info().joined
        return self._joined

    def members(self) -> Mapping[str, Member]:
        """The members of all cells by name."""
        self._refresh()
        if not self._members:
            self._members = {each.name: each for each in self._node.region_members()}
        return self._members

    def directory(self, patterns: tuple[str, ...]) -> ExportedDirectory:
        """The directory of what ``patterns`` include."""
        self._refresh()
        found = self._directories.get(patterns)
        if found is None:
            names = self._listed(patterns)
            body = encode({name: self._tags_of(name) for name in names[: limits.REGION_NAMES_MAX]})
            is_whole = len(names) <= limits.REGION_NAMES_MAX
            digest = hashlib.blake2b(body, digest_size=16, person=b"" if is_whole else b"part").hexdigest()
            found = ExportedDirectory(body, digest, is_whole)
            if len(self._directories) >= _DIRECTORIES_MAX:
                self._directories.clear()
            self._directories[patterns] = found
        return found

    def _refresh(self) -> None:
        index = self._node.index()
        if index != self._index:
            self._index, self._members = index, {}
            self._directories.clear()

    def _listed(self, patterns: tuple[str, ...]) -> list[str]:
        there = self._node.services()
        self._tags = {name: kept for name, kept in self._tags.items() if name in there}
        return [name for name in sorted(there) if includes(patterns, name)]

    def _tags_of(self, service: str) -> tuple[str, ...]:
        index = self._node.index(service)
        kept = self._tags.get(service)
        if kept is None or kept[0] != index:
            tags = {tag for each in self._node.lookup(service, healthy=False) for tag in each.tags}
            kept = self._tags[service] = (index, tuple(sorted(tags)[: limits.REGION_TAGS_MAX]))
        return kept[1]
