"""Instance health: publishes what the checks of this node's own instances, and those of the node itself, find.

The published health of an instance is the gravest of those of its checks, its maintenance and the checks of its node.
It is part of the record but not of the registration, so it is never written to disk. Whatever a check changes is
published at once, by the engine's verb that registers.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

import attrs
import trio

from gossipreg import limits
from gossipreg.check import Check, CheckReport
from gossipreg.errors import InvalidInstance, NodeClosed, RecordTooLarge, StorageError, UnknownInstance
from gossipreg.events import CheckEvent
from gossipreg.model import NODE_REASON, NODE_SERVICE, Health, Instance
from gossipreg.protocol.registry.checks import Finding
from gossipreg.protocol.registry.payload import pack_instance
from gossipreg.runtime.checks.dialing import AllowedTargets
from gossipreg.runtime.checks.monitor import Monitor
from gossipreg.runtime.checks.probing import probe
from gossipreg.runtime.node_context import NodeContext
from gossipreg.runtime.registrations import LocalRegistration
from gossipreg.runtime.supervision import run_contained
from gossipreg.targets import CheckRules
from gossipreg.text import shortened

log = logging.getLogger(__name__)


@attrs.define(eq=False, repr=False)
class InstanceHealth:
    """The health of one node's own instances.

    ``registrations`` are the registrar's, by id. An instance whose check has been critical for too long is withdrawn
    by ``withdraw``, while ``exclusively`` holds its id.
    """

    _context: NodeContext
    _registrations: Mapping[str, LocalRegistration]
    _check_rules: CheckRules
    _exclusively: Callable[[str], AbstractAsyncContextManager[None]]
    _withdraw: Callable[[str], Awaitable[None]]
    _commands: str  # `Config.command_checks`
    monitor: Monitor = attrs.field(init=False)
    _silences: dict[str, str] = attrs.field(init=False, factory=dict)  # why, of instances whose process is silent

    def __attrs_post_init__(self) -> None:
        context = self._context
        self.monitor = Monitor(
            context.driver.nursery, self._probe, self._checked, self._flapped, self._expired, context.counters
        )

    # What is published

    def offer(self, registration: LocalRegistration) -> tuple[Instance, bytes]:
        """The instance with the health that its checks give it, or those of the node if they are graver; packed.

        With weight 0 instead, if its record has no room for what a check of the node found.
        """
        instance = self._with_health(registration)
        if instance == registration.instance:
            return instance, registration.payload
        payload = pack_instance(instance)
        return (instance, payload) if len(payload) <= limits.RECORD_BYTES_MAX else _drained(registration)

    def _with_health(self, registration: LocalRegistration) -> Instance:
        id_ = registration.instance.id
        health, reason = self.monitor.standing(id_, registration.checks, registration.maintenance)
        silence = self._silences.get(id_) if registration.is_bound else None  # otherwise it belongs to no process
        if silence is not None and health.gravity < Health.CRITICAL.gravity:
            health, reason = Health.CRITICAL, silence
        node = self._registrations.get(NODE_SERVICE)
        if node is not None and node.checks and id_ != NODE_SERVICE:
            nodes, why = self.monitor.standing(NODE_SERVICE, node.checks, None)
            if nodes.gravity > health.gravity:
                health, reason = nodes, shortened(f"{NODE_REASON}{why}", limits.REASON_CHARS_MAX)
        if (health, reason) == (registration.instance.health, registration.instance.reason):
            return registration.instance
        return attrs.evolve(registration.instance, health=health, reason=reason)

    def follow_node(self, changed: Collection[str]) -> None:
        """Publish what the health of the node itself changes, if its registration or its checks are in ``changed``."""
        if NODE_SERVICE in changed:
            for id_ in list(self._registrations):
                if id_ != NODE_SERVICE:
                    self._checked(id_)

    def set_silence(self, ids: Collection[str], reason: str | None) -> bool:
        """Have instances be critical for ``reason``, since their process does not answer; None: no longer.

        Also for ids that are registered later, for a process: what users have registered follows none. Returns whether
        that is news of any of them.
        """
        news = [id_ for id_ in ids if self._silences.get(id_) != reason]
        for id_ in news:
            if reason is None:
                del self._silences[id_]
            else:
                self._silences[id_] = reason
            self._checked(id_)
        return bool(news)

    def _checked(self, id: str) -> None:
        """Publish the instance anew if the result of a check changes it."""
        published = self._context.engine.local_registry.own(id)
        if published is not None and not self._context.engine.identity.left:
            registration = self._registrations[id]
            if self._with_health(registration) != published:
                self._publish(registration)
                self.follow_node([id])

    def _publish(self, registration: LocalRegistration) -> None:
        """Publish the instance with its health. A check must not end because there is no room to say what it found."""
        try:
            instance, payload = self.offer(registration)
            self._say(instance, payload)
        except RecordTooLarge as error:  # the records of this node together
            log.warning("instance %s is drained, as it cannot be said how it is: %s", registration.instance.id, error)
            self._say(*_drained(registration))
        else:
            if instance.weight != registration.instance.weight:
                log.warning(
                    "instance %s is drained while a check of its node fails: its record has no room for the reason",
                    instance.id,
                )

    def _say(self, instance: Instance, payload: bytes) -> None:
        self._context.driver.say(self._context.engine.register(instance, trio.current_time(), payload))

    # What checks do

    def check_targets(self, registration: LocalRegistration, before: Sequence[Check]) -> None:
        """Raise ``InvalidInstance`` for a new check that this node would not run; those ``before`` go on as they do."""
        own = self._own_hosts(registration.instance)
        for place, check in enumerate(registration.checks):
            flaw = None if check in before else check.flaw(self._check_rules, own)
            if flaw is not None:
                raise InvalidInstance(f"checks[{place}].{flaw[0]}", flaw[1])

    def _own_hosts(self, instance: Instance) -> tuple[str, ...]:
        """The hosts that are an instance's own: where it is, and where this node is."""
        return instance.host, self._context.engine.identity.address.host

    def reports(self, registrations: Iterable[LocalRegistration]) -> tuple[CheckReport, ...]:
        """What the checks of these have found, in their order."""
        found = (self.monitor.reports(each.instance.id, each.instance.service) for each in registrations)
        return tuple(report for each in found for report in each)

    def flapping_event(self, entry: str) -> CheckEvent | None:
        """The event of whether a check flaps; ``entry`` names it in the change log. None if the check is gone."""
        id_, _, name = entry.partition(" ")
        registration, state = self._registrations.get(id_), self.monitor.state(id_, name)
        if registration is None or state is None:
            return None
        return CheckEvent(
            "flapping" if state.flapping else "steady", id_, registration.instance.service, name, state.health
        )

    async def _probe(self, id: str, check: Check) -> Finding | None:
        registration = self._registrations.get(id)
        own = () if registration is None else self._own_hosts(registration.instance)
        allowed = AllowedTargets(self._check_rules, own)
        return await probe(check, commands=self._commands != "off", allowed=allowed)

    def _flapped(self, id: str, check: str) -> None:
        self._context.change_log.write([("check", f"{id} {check}")])

    def _expired(self, id: str, check: str) -> None:
        log.warning("instance %s is deregistered: its check %s was critical for too long", id, check)
        withdraw = partial(self.withdraw_critical, id, check)
        self._context.driver.nursery.start_soon(
            run_contained, self._context.counters, f"the withdrawal of {id}", withdraw
        )

    async def withdraw_critical(self, id: str, check: str) -> None:
        """Withdraw an instance because of a check, unless that has recovered or is no longer there."""
        try:
            async with self._exclusively(id):
                state = self.monitor.state(id, check)
                if state is not None and state.health is Health.CRITICAL:
                    await self._withdraw(id)
        except StorageError as error:
            log.warning("instance %s stays for now: %s", id, error)
        except (UnknownInstance, NodeClosed):
            pass  # it is gone already


def _drained(registration: LocalRegistration) -> tuple[Instance, bytes]:
    """The instance with weight 0, packed, which takes no more bytes than as it was registered."""
    instance = attrs.evolve(registration.instance, weight=0)
    return instance, pack_instance(instance)
