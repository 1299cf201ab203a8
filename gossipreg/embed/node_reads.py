"""Reads of a node from memory: the same in every kind of program, from any thread, without its loop.

Written by ``python -m tests.embed.node_modules`` from the methods of `gossipreg.Node`: change those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import attrs

from gossipreg.embed.embedded_node import EmbeddedNode
from gossipreg.model import Address, Instance, Member, ServiceCount, ServiceTerm
from gossipreg.policy import Policy, UnreadablePolicy


@attrs.define(eq=False, repr=False)
class NodeReads(EmbeddedNode):
    """The reads of a node that runs in a thread of its own."""

    @property
    def cluster(self) -> str:
        """The cluster's name."""
        return self._node.cluster

    @property
    def name(self) -> str:
        """This member's name."""
        return self._node.name

    @property
    def address(self) -> Address:
        """The address at which other members reach this node."""
        return self._node.address

    @property
    def isolated(self) -> bool:
        """Whether no member was heard for 4 probe intervals although there should be one: answers may be stale."""
        return self._node.isolated

    @property
    def draining(self) -> bool:
        """Whether this node asks that its instances get no new work: it drains, or has left."""
        return self._node.draining

    @property
    def leaving(self) -> bool:
        """Whether this node has begun to leave the cluster, or has left it."""
        return self._node.leaving

    @property
    def reachable(self) -> float:
        """The share of the other members, without those that left, that are alive; 1.0 where there is none."""
        return self._node.reachable

    def warn(self, sentence: str) -> None:
        """Log a warning about how this node is set up, once, and show it in `info` for as long as the node lives.

        For the surroundings of a node, such as a port beyond loopback. ``sentence`` says what is wrong, and what to do.
        """
        self._node.warn(sentence)

    def lookup(
        self,
        service: str,
        *,
        healthy: bool = True,
        tag: str | None = None,
        zone: str | None = None,
        role: str | None = None,
        panic: float | None = None,
    ) -> tuple[Instance, ...]:
        """The instances of ``service`` that can serve (all, with ``healthy=False``), sorted by id; from memory.

        With ``panic``, a share from 0 to 1: when fewer of them can be reached because many owners failed at once, the
        lost ones are included, marked stale.
        """
        return self._node.lookup(service, healthy=healthy, tag=tag, zone=zone, role=role, panic=panic)

    def pick(
        self,
        service: str,
        *,
        tag: str | None = None,
        zone: str | None = None,
        role: str | None = None,
        panic: float | None = None,
    ) -> Instance:
        """One instance of those that `lookup` returns, drawn in proportion to the weights. Raises ``NoInstance``."""
        return self._node.pick(service, tag=tag, zone=zone, role=role, panic=panic)

    def index(self, service: str | None = None) -> int:
        """A number that grows whenever a lookup of ``service`` may answer differently; it never falls.

        Without a service it grows whenever any service, member or policy has changed.
        """
        return self._node.index(service)

    def services(self) -> Mapping[str, ServiceCount]:
        """Every service that has instances."""
        return self._node.services()

    def members(self) -> tuple[Member, ...]:
        """Every member that is remembered, this node included, sorted by name."""
        return self._node.members()

    def round_trip(self, name: str) -> float | None:
        """The smoothed round trip to the member of that name (seconds); None if none was measured."""
        return self._node.round_trip(name)

    def own(self, id: str) -> Instance | None:
        """This node's own registration of that id."""
        return self._node.own(id)

    def credentials(self, instance: Instance) -> Mapping[str, str]:
        """What a client needs to log in to ``instance``. Raises ``CredentialsUnavailable`` that says why not."""
        return self._node.credentials(instance)

    def next_term(self, service: str) -> int:
        """One more than the highest term that this node has seen of ``service``, of present and of past instances.

        For an instance that becomes the primary. Two nodes that are asked at the same time return the same number: see
        docs/roles.md. Raises ``NotJoined`` while the node has reached none of the members that it should join, since it
        then knows nothing; and ``InvalidInstance`` if the highest is the greatest possible.
        """
        return self._node.next_term(service)

    def note(self, instance: Instance) -> str:
        """Why ``instance``, which `register` or `set_maintenance` returned, is not called as it was stated.

        Empty if it is. Reasons are: it is fenced, a policy changes its weight, a check has not passed, this node
        drains.
        """
        return self._node.note(instance)

    def terms(self) -> tuple[ServiceTerm, ...]:
        """The highest term of each service that ever had one, sorted by service."""
        return self._node.terms()

    @property
    def command_checks(self) -> str:
        """Which health checks may run commands here: see `Config`."""
        return self._node.command_checks

    def policies(self) -> tuple[Policy, ...]:
        """The policies in force, sorted by key."""
        return self._node.policies()

    def unreadable_policies(self) -> tuple[UnreadablePolicy, ...]:
        """Policies that this version does not understand and does not obey; `remove_policy` removes them."""
        return self._node.unreadable_policies()

    @property
    def drained(self) -> str | None:
        """Why this node was told to drain, which may be empty; None if it was not."""
        return self._node.drained

    @property
    def counters(self) -> Counter[str]:
        """The counters of this node and of its frontends."""
        return self._node.counters

    @property
    def is_closed(self) -> bool:
        """Whether the node has left or was closed."""
        return self._node.is_closed
