"""Verbs: what an attached process may ask of the agent, the scope that each takes, and how its arguments are read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import attrs

from gossipreg.attach.frames import BadFrame
from gossipreg.errors import GossipregError, InvalidInstance, InvalidPolicy, UnknownInstance
from gossipreg.frontends.attach.bindings import Binding
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.audit_log import AuditLog
from gossipreg.frontends.serving.audit_log import Caller as Client
from gossipreg.frontends.serving.audit_log import caller as client
from gossipreg.frontends.serving.check_permissions import outputs_for, permit_checks
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.response import HttpError
from gossipreg.frontends.serving.scoped_node import ScopedNode, watch
from gossipreg.frontends.serving.scopes import Action
from gossipreg.model import Health, Instance
from gossipreg.policy import KINDS, Rule
from gossipreg.regional import RegionalDirectory, RegionalService
from gossipreg.spec import InstanceSpec
from gossipreg.values import frozen

T = TypeVar("T")

_RULES: Final[Mapping[str, type[Rule]]] = KINDS


@frozen
class Arguments:
    """The arguments of one request. A reading that fails raises ``BadFrame``: a process of this release sends none."""

    _values: Mapping[str, object]

    def text(self, name: str) -> str:
        """A string."""
        return self._of(name, str)

    def text_or_none(self, name: str) -> str | None:
        """A string, or None if there is none."""
        return None if self._values.get(name) is None else self._of(name, str)

    def flag(self, name: str) -> bool:
        """A truth value."""
        return self._of(name, bool)

    def number(self, name: str) -> float:
        """A number."""
        value = self._values.get(name)
        return float(self._of(name, int)) if isinstance(value, int) else self._of(name, float)

    def whole(self, name: str) -> int:
        """A whole number."""
        return self._of(name, int)

    def texts(self, name: str) -> list[str]:
        """A list of strings."""
        found = self.items(name)
        if not all(isinstance(each, str) for each in found):
            raise BadFrame(f"{name}: not a list of strings")
        return found

    def items(self, name: str) -> list[Any]:
        """A list."""
        return self._of(name, list)

    def table(self, name: str) -> dict[Any, Any]:
        """A map."""
        return self._of(name, dict)

    def _of(self, name: str, kind: type[T]) -> T:
        value = self._values.get(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise BadFrame(f"{name}: no {kind.__name__}")
        return value


@frozen
class BoundNode:
    """The agent's node as one process changes it: what it registers is bound to it. All else is the node's own."""

    node: NodeApi
    binding: Binding

    def __getattr__(self, name: str) -> Any:
        return getattr(self.node, name)

    async def register_many(self, specs: Sequence[InstanceSpec]) -> tuple[Instance, ...]:
        """Register instances that live as long as the process."""
        return await self.binding.register(specs)

    async def deregister(self, id: str) -> None:
        """Withdraw one of them."""
        await self.binding.withdraw([id])


@frozen
class AttachedProcess:
    """The process that asks: its token has scopes, and some instances are bound to it.

    It changes the agent's node through a `ScopedNode`, as all clients do: a token may be for some services only.
    """

    own_node: NodeApi
    access: Access
    token: str | None
    binding: Binding
    audit: AuditLog
    node: NodeApi = attrs.field(init=False)

    @node.default
    def _(self) -> NodeApi:
        bound = cast("NodeApi", BoundNode(self.own_node, self.binding))
        return cast("NodeApi", ScopedNode(bound, self.audit))

    def permit(self, action: Action, service: str | None = None) -> None:
        """Raise an ``HttpError`` unless its token is for ``action``, of one service if that is named."""
        self.access.permit(self.token, action, service)

    def enter(self) -> None:
        """Let what this task brings about be known as the process's."""
        found = None if self.access.is_open or self.token is None else self.access.find(self.token)
        watch(found)
        client.set(Client("attached", token=None if found is None else found.name))

    def own(self, id: str) -> str:
        """``id``, if that instance is bound to the process. Raises ``UnknownInstance``."""
        if not self.binding.owns(id):
            raise UnknownInstance(f"this process has registered no instance {id!r}")
        return id

    def found(self, service: str, id: str, owner: str) -> Instance:
        """The instance of that id and owner. Raises ``UnknownInstance``."""
        for each in self.node.lookup(service, healthy=False):
            if (each.id, each.owner) == (id, owner):
                return each
        raise UnknownInstance(f"{owner} owns no instance {id!r} of {service}")

    async def answer(self, verb: str, values: object) -> Any:
        """What the process asks for. Raises ``BadFrame``, ``HttpError`` and what the node raises."""
        if verb not in VERBS or not isinstance(values, dict):
            raise BadFrame(f"no verb of this version: {verb!r:.40}")
        action, answer = VERBS[verb]
        self.enter()
        if action is not None:
            service = values.get("service")
            try:
                self.permit(action, service if isinstance(service, str) else None)
            except HttpError:
                if verb in CHANGES:
                    await self.audit.refused(verb)
                raise
        return await answer(self, Arguments(values))


Answer = Callable[[AttachedProcess, Arguments], Awaitable[Any]]


def _read(read: Callable[[AttachedProcess, Arguments], Any]) -> Answer:
    async def answer(caller: AttachedProcess, given: Arguments) -> Any:
        return read(caller, given)

    return answer


def _lookup(caller: AttachedProcess, given: Arguments) -> Sequence[Instance]:
    panic = None if given.text_or_none("service") is None else given.number("panic")
    return caller.node.lookup(
        given.text("service"),
        healthy=given.flag("healthy"),
        tag=given.text_or_none("tag"),
        zone=given.text_or_none("zone"),
        role=given.text_or_none("role"),
        panic=panic or None,
        region=given.text_or_none("region"),
    )


def _named(caller: AttachedProcess, given: Arguments) -> Instance:
    return caller.found(given.text("service"), given.text("id"), given.text("owner"))


def _stated(caller: AttachedProcess, given: Arguments) -> Instance | None:
    try:
        return caller.node.stated(_named(caller, given))
    except UnknownInstance:
        return None


def _note(caller: AttachedProcess, given: Arguments) -> str:
    try:
        return caller.node.note(_named(caller, given))
    except UnknownInstance:
        return ""


def _checks(caller: AttachedProcess, given: Arguments) -> list[Any]:
    id_ = given.text_or_none("id")
    ids = list(filter(caller.binding.owns, caller.binding.ids)) if id_ is None else [caller.own(id_)]
    output = outputs_for(caller.access, caller.token)
    return [attrs.evolve(each, output=output(each) or "") for id_ in ids for each in caller.node.checks(id_)]


def _spec(caller: AttachedProcess, document: object) -> InstanceSpec:
    if not isinstance(document, dict):
        raise BadFrame("a registration that is no map")
    spec = InstanceSpec.read(document)
    if caller.node.command_checks != "api" and spec.runs_commands:
        raise InvalidInstance(
            "checks",
            "commands are not taken from attached processes: start the agent with --command-checks api",
        )
    permit_checks(caller.access, caller.token, caller.node, spec.checks, spec.host)
    return spec


def _registered(caller: AttachedProcess, shown: Instance) -> list[Instance]:
    """An instance as lookups show it, and as it was registered."""
    return [shown, caller.node.own(shown.id) or shown]


async def _register(caller: AttachedProcess, given: Arguments) -> list[list[Instance]]:
    specs = [_spec(caller, each) for each in given.items("specs")]
    shown = await caller.node.register_many(specs)
    return [_registered(caller, each) for each in shown]


async def _deregister(caller: AttachedProcess, given: Arguments) -> None:
    await caller.node.deregister(caller.own(given.text("id")))


async def _heartbeat(caller: AttachedProcess, given: Arguments) -> None:
    await caller.node.heartbeat(
        caller.own(given.text("id")),
        check=given.text_or_none("check"),
        health=_health(given.text("health")),
        note=given.text("note"),
    )


def _health(text: str) -> Health:
    try:
        return Health(text)
    except ValueError:
        raise BadFrame("no health") from None


async def _set_maintenance(caller: AttachedProcess, given: Arguments) -> list[Instance]:
    id_ = caller.own(given.text("id"))
    return _registered(caller, await caller.node.set_maintenance(id_, given.text_or_none("reason")))


async def _set_policy(caller: AttachedProcess, given: Arguments) -> Any:
    kind, fields = given.text("kind"), given.table("fields")
    if kind not in _RULES:
        raise BadFrame("no kind of policy")
    try:
        rule = _RULES[kind](**fields)
    except (TypeError, ValueError, AttributeError):
        raise InvalidPolicy(None, f"a {kind} has no such fields") from None
    return await caller.node.set_policy(rule)


def _index(caller: AttachedProcess, given: Arguments) -> int:
    return caller.node.index(given.text_or_none("service"), given.text_or_none("region"))


async def _wait_changed(caller: AttachedProcess, given: Arguments) -> int:
    service, region = given.text_or_none("service"), given.text_or_none("region")
    await caller.node.wait_changed(service, given.whole("index"), region)
    return _index(caller, given)


def _patience(given: Arguments) -> float:
    found = given.number("patience")
    if not found >= 0:  # nor is it NaN
        raise BadFrame("patience: less than 0")
    return found


async def _fetch(caller: AttachedProcess, given: Arguments) -> RegionalService:
    return await caller.node.fetch(given.text("service"), given.text("region"), patience=_patience(given))


async def _fetch_directory(caller: AttachedProcess, given: Arguments) -> RegionalDirectory:
    return await caller.node.fetch_directory(given.text("region"), patience=_patience(given))


def _regional_service(caller: AttachedProcess, given: Arguments) -> RegionalService:
    return caller.node.regional_service(given.text("service"), given.text("region"))


def _with_failover(caller: AttachedProcess, given: Arguments) -> Sequence[Instance]:
    return caller.node.with_failover(
        given.text("service"),
        given.texts("failover"),
        threshold=given.number("threshold"),
        tag=given.text_or_none("tag"),
        role=given.text_or_none("role"),
    )


async def _leave(caller: AttachedProcess, _given: Arguments) -> None:
    await caller.binding.end()


#: Each verb: the action whose scope the token must have, and what answers it. The names are those of `gossipreg.Node`.
VERBS: Final[Mapping[str, tuple[Action | None, Answer]]] = {
    "info": (Action.READ_STATUS, _read(lambda caller, _: caller.node.info())),
    "observer_reports": (Action.READ_CLUSTER, lambda caller, _: caller.node.observer_reports()),
    "lookup": (Action.READ_CLUSTER, _read(_lookup)),
    "index": (Action.READ_CLUSTER, _read(_index)),
    "cells": (Action.READ_CLUSTER, _read(lambda caller, _: caller.node.cells())),
    "regions": (Action.READ_CLUSTER, _read(lambda caller, _: caller.node.regions())),
    "regional_service": (Action.READ_CLUSTER, _read(_regional_service)),
    "regional_directory": (
        Action.READ_CLUSTER,
        _read(lambda caller, given: caller.node.regional_directory(given.text("region"))),
    ),
    "fetch": (Action.READ_CLUSTER, _fetch),
    "fetch_directory": (Action.READ_CLUSTER, _fetch_directory),
    "with_failover": (Action.READ_CLUSTER, _read(_with_failover)),
    "wait_changed": (Action.READ_CLUSTER, _wait_changed),
    "services": (Action.READ_CLUSTER, _read(lambda caller, _: caller.node.services())),
    "members": (Action.READ_CLUSTER, _read(lambda caller, _: caller.node.members())),
    "region_members": (Action.READ_CLUSTER, _read(lambda caller, _: caller.node.region_members())),
    "round_trip": (Action.READ_CLUSTER, _read(lambda caller, given: caller.node.round_trip(given.text("name")))),
    "stated": (Action.READ_CLUSTER, _read(_stated)),
    "note": (Action.READ_CLUSTER, _read(_note)),
    "credentials": (
        Action.READ_CREDENTIALS,
        _read(lambda caller, given: caller.node.credentials(_named(caller, given))),
    ),
    "next_term": (Action.READ_CLUSTER, _read(lambda caller, given: caller.node.next_term(given.text("service")))),
    "terms": (Action.READ_CLUSTER, _read(lambda caller, _: caller.node.terms())),
    "reset_term": (Action.RESET_ROLE, lambda caller, given: caller.node.reset_term(given.text("service"))),
    "register_many": (Action.REGISTER, _register),
    "deregister": (Action.REGISTER, _deregister),
    "checks": (Action.READ_CHECKS, _read(_checks)),
    "heartbeat": (Action.REPORT_HEALTH, _heartbeat),
    "set_maintenance": (Action.SET_MAINTENANCE, _set_maintenance),
    "policies": (Action.READ_CLUSTER, _read(lambda caller, _: caller.node.policies())),
    "unreadable_policies": (Action.READ_CLUSTER, _read(lambda caller, _: caller.node.unreadable_policies())),
    "set_policy": (Action.SET_POLICY, _set_policy),
    "remove_policy": (Action.SET_POLICY, lambda caller, given: caller.node.remove_policy(given.text("key"))),
    "gossip_keys": (Action.MANAGE_KEYS, _read(lambda caller, _: caller.node.gossip_keys())),
    "add_gossip_key": (Action.MANAGE_KEYS, lambda caller, given: caller.node.add_gossip_key(given.text("key"))),
    "use_gossip_key": (
        Action.MANAGE_KEYS,
        lambda caller, given: caller.node.use_gossip_key(
            given.text("id"), kept=given.number("kept"), force=given.flag("force")
        ),
    ),
    "remove_gossip_key": (Action.MANAGE_KEYS, lambda caller, given: caller.node.remove_gossip_key(given.text("id"))),
    "forget": (Action.FORGET, lambda caller, given: caller.node.forget(given.text("name"))),
    "leave": (None, _leave),
}


#: Those that change something.
CHANGES: Final = frozenset(
    {
        *("register_many", "deregister", "heartbeat", "set_maintenance"),
        *("set_policy", "remove_policy", "reset_term", "forget"),
        *("add_gossip_key", "use_gossip_key", "remove_gossip_key"),
    }
)


def failure(error: HttpError | GossipregError) -> tuple[str, str, str | None]:
    """The code, the sentence and the field with which a process is told of ``error``."""
    if isinstance(error, HttpError):
        return "agent_refused", str(error), None
    return error.code, str(getattr(error, "problem", error)), error.field
