"""Policy writer: changes of policies and of term registers, first on disk and then in gossip.

A change that members have heard of cannot be taken back. So the disk comes first: a change that it refuses takes effect
nowhere.
Changes that peers make are stored as well, so that policies and terms outlive even the end of all agents.

A term register is raised by the instances that state terms. It is written in one transaction with them, so that no
crash can keep an instance and lose its term, or keep a withdrawal and give the term out again. Every write of a policy
or a register is made under one lock, and writes the state as it is once the lock is held. Otherwise an older version
could overwrite one that is about to be published, such as a reset, and a crash would bring it back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio

from gossipreg.errors import StorageError
from gossipreg.model import Instance, ServiceTerm
from gossipreg.policy import Policy, Rule
from gossipreg.protocol.registry.key_statements import Statement
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.wire.field_readers import Junk
from gossipreg.protocol.wire.messages import message_of, pack
from gossipreg.revocation import Revocation
from gossipreg.runtime.node_context import NodeContext
from gossipreg.runtime.saved_state import POLICY, TERM, Place, SavedState
from gossipreg.runtime.supervision import log_bug
from gossipreg.tokens import ClusterToken

log = logging.getLogger(__name__)


@attrs.define(eq=False, repr=False)
class PolicyWriter:
    """Sets and stores the policies and term registers of one node."""

    _context: NodeContext
    _lock: trio.Lock = attrs.field(init=False, factory=trio.Lock)  # held while disk and engine are made to agree
    _pending_terms: dict[str, list[int]] = attrs.field(init=False, factory=dict)  # being written to disk, by service
    _is_behind: bool = attrs.field(init=False, default=False)  # something of policies or terms may not be on disk

    def restore(self, saved: SavedState) -> list[Place]:
        """Put what was saved into force again. Returns the rows that cannot be used."""
        unusable: list[Place] = []
        versions = []
        for key, body in saved.policies.items():
            try:
                versions.append(unpack_policy(key, body))
            except Junk as flaw:
                log.warning("policy %s on disk is not used: %s", key, flaw)
                unusable.append((POLICY, key))
        registers = []
        for service, body in saved.terms.items():
            try:
                registers.append(unpack_term(service, body))
            except Junk as flaw:
                log.warning("the term of %s on disk is not used: %s", service, flaw)
                unusable.append((TERM, service))
        context = self._context
        context.driver.say(context.engine.recall(versions, trio.current_time(), terms=registers))
        return unusable

    async def set_policy(self, rule: Rule) -> Policy:
        """Put a rule into force on every node; with a data directory it is on disk first. The policy now in force.

        Raises ``StorageError`` if the disk refuses it: then nothing has changed anywhere.
        """
        self._context.check_open()
        await self._publish(partial(self._context.engine.local_policies.version_of, rule))
        version = self._context.engine.state.policies.get(rule.key)
        policy = None if version is None else version.policy
        return policy or Policy(rule, self._context.name, time.time())  # otherwise it was removed at the same moment

    async def remove_policy(self, key: str) -> None:
        """Put a rule out of force on every node; otherwise as `set_policy`."""
        self._context.check_open()
        await self._publish(partial(self._context.engine.local_policies.removal_of, key))

    async def state(self, statement: Statement) -> None:
        """State something about a key of the cluster; otherwise as `set_policy`. Raises ``NotJoined``."""
        self._context.check_open()
        await self._publish(partial(self._context.engine.local_policies.statement_of, statement))

    async def create_token(self, token: ClusterToken) -> ClusterToken:
        """Have every agent accept a token, in place of one of its name; otherwise as `set_policy`."""
        self._context.check_open()
        await self._publish(partial(self._context.engine.local_policies.token_version_of, token))
        self._context.check_open()
        found = (each for each in self._context.engine.state.policies.tokens if each.name == token.name)
        return next(found, token)  # otherwise it was revoked at the same moment

    async def revoke_token(self, name: str) -> None:
        """Have no agent accept the token of that name any more; otherwise as `set_policy`. Raises ``UnknownToken``."""
        self._context.check_open()
        await self._publish(partial(self._context.engine.local_policies.token_removal_of, name))

    async def revoke(self, revocation: Revocation) -> None:
        """Have every member expel the holder of a certificate; otherwise as `set_policy`."""
        version = self._context.engine.local_policies.revocation_of(revocation)
        await self._publish(lambda _: version)

    async def _publish(self, version_at: Callable[[float], PolicyVersion]) -> None:
        context = self._context
        with trio.CancelScope(shield=True):  # a version that is on disk only would come into force at a restart
            async with self._lock:
                version = version_at(trio.current_time())
                if context.store is not None:
                    await context.store.put_policy(version.key, pack(version))
                context.check_open()
                context.driver.say(context.engine.publish_policy(version, trio.current_time()))

    async def reset_term(self, service: str) -> ServiceTerm:
        """Reset a service's terms everywhere, once that is on disk. Returns the terms that are then known.

        Raises ``StorageError`` if the disk refuses it: then nothing has changed anywhere.
        """
        context = self._context
        context.check_open()
        with trio.CancelScope(shield=True):  # as with a policy
            async with self._lock:
                register = context.engine.local_policies.reset_of(service, trio.current_time())
                if context.store is not None:
                    await context.store.put_term(service, pack(register))
                context.check_open()
                context.driver.say(context.engine.publish_reset(register, trio.current_time()))
        await trio.lowlevel.checkpoint()
        return context.catalog.term(service)

    def next_term(self, service: str) -> int:
        """A term above all that are known here, those included that are just being written. Raises ``NotJoined``."""
        pending = (term + 1 for term in self._pending_terms.get(service, ()))
        return max([self._context.engine.local_policies.next_term(service), *pending])

    @asynccontextmanager
    async def stating(
        self, wanted: Iterable[Instance], before: Iterable[Instance]
    ) -> AsyncIterator[Mapping[str, bytes | None]]:
        """Have ``wanted`` replace ``before`` among this node's own instances, on disk and then in the engine.

        If any states a term, the lock is held, and the terms count as given out, meanwhile. Yields the term registers
        to write along with the instances, packed, by service: as they are once the instances are published.
        """
        claims = [each for each in wanted if each.term]
        services = dict.fromkeys(each.service for each in (*claims, *before) if each.term)
        if not services:
            yield {}
            return
        for each in claims:
            self._pending_terms.setdefault(each.service, []).append(each.term)
        try:
            async with self._lock:
                yield self.registers_of(services, claims)
        finally:
            for each in claims:
                self._pending_terms[each.service].remove(each.term)
                if not self._pending_terms[each.service]:
                    del self._pending_terms[each.service]

    def registers_of(self, services: Iterable[str], claims: Sequence[Instance] = ()) -> dict[str, bytes | None]:
        """The term registers of ``services`` once ``claims`` are published, packed; None for one that holds nothing."""
        registers = {service: self._context.engine.state.terms.get(service) for service in services}
        for each in claims:
            held = registers[each.service] or TermRegister(each.service)
            registers[each.service] = held.raised(each)
        return {service: None if register is None else pack(register) for service, register in registers.items()}

    async def store_changes(self) -> None:
        """Store what peers change of policies and terms, until the node is closed."""
        change_log, state = self._context.change_log, self._context.engine.state
        writes = {"policy": self._store_policy, "term": self._store_term}
        position = change_log.position
        while not change_log.closed:
            await change_log.wait(position)
            entries = change_log.since(position)
            position = change_log.position
            if entries is None or self._is_behind:  # what could not be stored is tried again
                entries = [
                    *(("policy", version.key) for version in state.policies),
                    *(("term", register.service) for register in state.terms),
                ]
            was_behind, self._is_behind = self._is_behind, True
            try:
                # All at once, so that they share a sync.
                async with self._lock, trio.open_nursery() as nursery:
                    for kind, key in entries:
                        if kind in writes:
                            nursery.start_soon(self._store_one, f"storing {kind} {key}", partial(writes[kind], key))
            except* StorageError as errors:  # a full disk must not stop a node that serves
                if not was_behind:
                    log.warning("policies and terms are not stored on disk: %s", errors.exceptions[0])
            else:
                self._is_behind = False

    async def _store_one(self, what: str, write: Callable[[], Awaitable[None]]) -> None:
        """Write one row. A bug that prevents it is logged, and does not prevent the others."""
        try:
            await write()
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - it is logged
            log_bug(self._context.counters, what, error)

    async def _store_policy(self, key: str) -> None:
        store, version = self._context.store, self._context.engine.state.policies.get(key)
        assert store is not None, "without a disk nothing is stored"
        if version is None:
            await store.drop_policy(key)
        else:
            await store.put_policy(key, pack(version))

    async def _store_term(self, service: str) -> None:
        store, register = self._context.store, self._context.engine.state.terms.get(service)
        assert store is not None, "without a disk nothing is stored"
        if register is None:
            await store.drop_term(service)
        else:
            await store.put_term(service, pack(register))


def unpack_policy(key: str, body: bytes) -> PolicyVersion:
    """The policy in a row that an earlier run of the node stored. Raises ``Junk``."""
    version = message_of(body)
    if not isinstance(version, PolicyVersion) or version.key != key:
        raise Junk("it says something else")
    return version


def unpack_term(service: str, body: bytes) -> TermRegister:
    """The term register in a row that an earlier run of the node stored. Raises ``Junk``."""
    register = message_of(body)
    if not isinstance(register, TermRegister) or register.service != service:
        raise Junk("it says something else")
    return register
