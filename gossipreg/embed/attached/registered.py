"""Registered instances: what an attached process has registered, so that it can do so again with another agent."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from gossipreg.embed.attached.link import Link
from gossipreg.embed.attached.steps import Settled
from gossipreg.errors import AgentUnreachable, InvalidInstance, NodeClosed, UnknownInstance, naming
from gossipreg.model import Instance
from gossipreg.values import frozen

if TYPE_CHECKING:
    from gossipreg.spec import InstanceSpec

log = logging.getLogger(__name__)


@frozen
class _Registered:
    """One instance: how the program asked for it, and what the agent made of that."""

    document: Mapping[str, Any]
    instance: Instance
    maintenance: str | None = None


@attrs.define(eq=False, repr=False)
class RegisteredInstances:
    """The instances of one process, by id. The verbs, which are coroutines, raise what those of a node raise.

    A request that was not answered may have been carried out. Such an id is kept too, in `_gone` if the program does
    not want it any more, and told over the next stream.
    """

    _link: Link
    has_any: bool = attrs.field(init=False, default=False)  # something was registered, or may have been
    _by_id: dict[str, _Registered] = attrs.field(init=False, factory=dict)
    _gone: set[str] = attrs.field(init=False, factory=set)  # the agent may not know that these are not offered any more

    def instance(self, id: str) -> Instance | None:
        """The instance of that id as the agent registered it, or None."""
        found = self._by_id.get(id)
        return None if found is None else found.instance

    def ids(self) -> tuple[str, ...]:
        """The ids in the order in which they were first registered. Any thread may ask."""
        return tuple(self._by_id.copy())

    async def register(self, spec: InstanceSpec) -> Instance:
        """Register one. The instance as lookups show it."""
        document = self._document(spec)
        try:
            (shown,) = await self._register([document])
        except InvalidInstance as error:
            raise _without_place(error) from None
        return shown

    async def register_many(self, specs: Sequence[InstanceSpec]) -> tuple[Instance, ...]:
        """Register all of these or none."""
        documents = []
        for place, spec in enumerate(specs):
            with naming(f"[{place}]"):
                documents.append(self._document(spec))
        return await self._register(documents)

    def _document(self, spec: InstanceSpec) -> dict[str, Any]:
        """``spec`` as the agent reads it. Raises ``InvalidInstance`` for what no node would register."""
        node = self._link.node
        instance = spec.instance(member=node["name"], host=node["address"].host, zone=node["zone"])
        return {
            "service": spec.service,
            "port": spec.port,
            "host": spec.host,
            "id": instance.id,
            "tags": list(instance.tags),
            "meta": dict(instance.meta),
            "weight": spec.weight,
            "zone": spec.zone,
            "role": spec.role,
            "term": spec.term,
            "checks": [each.stated() for each in spec.checks],
            "credentials": dict(spec.credentials),
        }

    async def _register(self, documents: list[dict[str, Any]]) -> tuple[Instance, ...]:
        self.has_any = True
        try:
            answers = await self._ask("register_many", specs=documents)
        except AgentUnreachable:
            self._gone |= {document["id"] for document in documents} - self._by_id.keys()
            raise
        for document, (shown, own) in zip(documents, answers, strict=True):
            before = self._by_id.get(shown.id)
            self._by_id[shown.id] = _Registered(document, own, None if before is None else before.maintenance)
            self._gone.discard(shown.id)
        return tuple(shown for shown, _ in answers)

    async def deregister(self, id: str) -> None:
        """Withdraw one."""
        known = self._by_id.pop(id, None)
        try:
            await self._ask("deregister", id=id)
        except UnknownInstance:
            if known is None:  # else it went while the stream was interrupted
                raise
        except AgentUnreachable:
            self._gone.add(id)
            raise

    async def set_maintenance(self, id: str, reason: str | None) -> Instance:
        """Put one into maintenance, or end that with None. The instance as lookups show it."""
        shown, own = await self._ask("set_maintenance", id=id, reason=reason)
        if id in self._by_id:
            self._by_id[id] = attrs.evolve(self._by_id[id], instance=own, maintenance=reason)
        found: Instance = shown
        return found

    def _ask(self, verb: str, **values: Any) -> Settled[Any]:
        self._link.check_open()
        return Settled(self._link.ask(verb, values))

    def register_again(self) -> None:
        """Have the agent know what it knew before the stream was interrupted. In the link's thread."""
        for id_, each in list(self._by_id.items()):
            again = self._link.ask("register_many", {"specs": [each.document]}, again=False)
            again.add_done_callback(partial(_log_failure, id_))
            if each.maintenance is not None:
                self._link.ask("set_maintenance", {"id": id_, "reason": each.maintenance}, again=False)
        for id_ in list(self._gone):
            again = self._link.ask("deregister", {"id": id_}, again=False)  # within its grace it is still there
            again.add_done_callback(partial(self._withdrawn, id_))

    def _withdrawn(self, id: str, done: Future[Any]) -> None:
        """Forget an id that is not offered any more, unless this stream has ended, too, before the agent answered."""
        if not done.cancelled() and not isinstance(done.exception(), AgentUnreachable):
            self._gone.discard(id)


def _without_place(error: InvalidInstance) -> InvalidInstance:
    """The error about the only one of a list, as one about that."""
    field = error.field
    if field is not None and field.startswith("[0]"):
        field = field.removeprefix("[0]").removeprefix(".") or None
    return type(error)(field, error.problem, value=error.value, expected=error.expected)


def _log_failure(id: str, done: Future[Any]) -> None:
    if (
        not done.cancelled()
        and (error := done.exception()) is not None
        and not isinstance(error, NodeClosed | AgentUnreachable)
    ):
        log.warning("instance %s is not registered again: %s", id, error)
