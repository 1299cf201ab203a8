"""Bindings: which instances live as long as which attached process, over the streams that the process has had.

The stream of a process that dies is closed by its kernel at once, so its end says what a lifeline says of a member
(docs/decisions/0009). A process that asks for a grace keeps its instances for that long, and claims them with the
secret of its session over a new stream. The last process to register an id has it, until a user registers or withdraws
it at the agent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import attrs
import trio

from gossipreg import limits
from gossipreg.errors import GossipregError, NodeClosed
from gossipreg.model import Instance
from gossipreg.protocol.registry.service_view import ServiceView
from gossipreg.spec import InstanceSpec

log = logging.getLogger(__name__)


class InstanceRegistry(Protocol):
    """Where the instances of attached processes are registered: `gossipreg.runtime.bound_instances`."""

    async def register_many(self, specs: Collection[InstanceSpec]) -> tuple[Instance, ...]:
        """Register all of these or none."""
        ...

    async def withdraw(self, ids: Collection[str], is_taken: Callable[[str], bool]) -> None:
        """Withdraw those of these that are there, without those that are taken by then."""
        ...

    def set_silence(self, ids: Collection[str], reason: str | None) -> bool:
        """Have these be critical for ``reason``, or as their checks say again; whether that is news of any."""
        ...

    def is_bound(self, id: str) -> bool:
        """Whether the instance ``id`` is there as a process has registered it: no user has withdrawn or replaced it."""
        ...

    def view(self, service: str) -> ServiceView:
        """A service as lookups answer it now."""
        ...

    def shown(self, instance: Instance) -> Instance:
        """An instance of these as lookups show it now."""
        ...


@attrs.define(eq=False, repr=False)
class Binding:
    """The instances of one attached process, under the secret of its session."""

    session: bytes
    grace: float  # how long they outlive the stream (seconds)
    _bindings: Bindings
    ids: dict[str, None] = attrs.field(init=False, factory=dict)
    cut: Callable[[], None] | None = None  # ends the stream that the process has now; None: it has none
    waiting: trio.CancelScope | None = attrs.field(init=False, default=None)  # until the grace is over
    silence: str | None = attrs.field(init=False, default=None)  # why its instances are critical, if it does not answer
    _registered: trio.Event = attrs.field(init=False, factory=trio.Event)

    async def register(self, specs: Sequence[InstanceSpec]) -> tuple[Instance, ...]:
        """Register instances that live as long as the process. Raises what the registry raises."""
        shown = await self._bindings.registry.register_many(specs)
        for each in shown:
            self._bindings.take(each.id, self)
        if self._bindings.registry.set_silence([each.id for each in shown], self.silence):
            return tuple(map(self._bindings.registry.shown, shown))
        return shown

    async def wait_registered(self) -> None:
        """Return once something is registered that no user has taken over."""
        self.release_taken()
        while not self.ids:
            self._registered = trio.Event()
            await self._registered.wait()

    def add(self, id: str) -> None:
        """Have the instance ``id`` be one of these."""
        self.ids[id] = None
        self._registered.set()

    def set_silence(self, reason: str | None) -> None:
        """Have its instances be critical for ``reason``, or as their checks say again."""
        self.silence = reason
        self.release_taken()
        self._bindings.registry.set_silence(list(self.ids), reason)

    def owns(self, id: str) -> bool:
        """Whether the instance ``id`` is the process's, and no user has withdrawn or replaced it."""
        return id in self.ids and self._bindings.registry.is_bound(id)

    def release_taken(self) -> None:
        """Have what a user has withdrawn or replaced at the agent be the process's no longer."""
        registry = self._bindings.registry
        taken = [id_ for id_ in self.ids if not registry.is_bound(id_)]
        for id_ in taken:
            self._bindings.drop(id_, self)
        registry.set_silence(taken, None)

    async def withdraw(self, ids: Collection[str]) -> None:
        """Withdraw instances of the process."""
        gone = [id_ for id_ in ids if id_ in self.ids]
        for id_ in gone:
            self._bindings.drop(id_, self)
        if gone:
            await self._bindings.registry.withdraw(gone, self._bindings.has)
            self._bindings.registry.set_silence([id_ for id_ in gone if not self._bindings.has(id_)], None)

    async def end(self) -> None:
        """Withdraw all that the process has registered, and forget its session."""
        self._bindings.forget(self)
        try:
            await self.withdraw(list(self.ids))
        except NodeClosed:
            pass  # they went with the node
        except GossipregError as error:
            log.warning("instances of an attached process that has ended stay: %s", error)


@attrs.define(eq=False, repr=False)
class Bindings:
    """The bindings of all attached processes of one agent."""

    registry: InstanceRegistry
    _by_session: dict[bytes, Binding] = attrs.field(init=False, factory=dict)
    _by_id: dict[str, Binding] = attrs.field(init=False, factory=dict)
    _kept: dict[Binding, None] = attrs.field(init=False, factory=dict)  # without a stream, the oldest first

    def begin(self, session: bytes, grace: float, cut: Callable[[], None]) -> Binding:
        """The binding of a process whose stream has just begun: the one it had, or a new one."""
        binding = self._by_session.get(session)
        if binding is None:
            binding = self._by_session[session] = Binding(session, grace, self)
        if binding.cut is not None:
            binding.cut()  # its earlier stream, of whose end we have not heard
        if binding.waiting is not None:
            binding.waiting.cancel()
        self._kept.pop(binding, None)
        binding.grace, binding.cut = grace, cut
        return binding

    async def stream_ended(self, binding: Binding, cut: Callable[[], None]) -> None:
        """Withdraw what the process has registered, or wait for it as long as it asked for.

        ``cut`` is what `begin` was given: nothing happens if the process has a stream that began later.
        """
        if binding.cut is not cut:
            return
        binding.cut = None
        if not binding.ids or not binding.grace or self._by_session.get(binding.session) is not binding:
            await binding.end()
            return
        self._kept[binding] = None
        if len(self._kept) > limits.ATTACH_KEPT_MAX:
            oldest = next(iter(self._kept))
            if oldest.waiting is not None:
                oldest.waiting.deadline = trio.current_time()
        with trio.CancelScope(deadline=trio.current_time() + binding.grace) as binding.waiting:
            await trio.sleep_forever()
        binding.waiting = None
        if binding.cut is None:  # else it is back
            self._kept.pop(binding, None)
            await binding.end()

    def take(self, id: str, binding: Binding) -> None:
        """Have the instance ``id`` live as long as the process of ``binding`` from now on."""
        before = self._by_id.get(id)
        if before is not None:
            before.ids.pop(id, None)
        self._by_id[id] = binding
        binding.add(id)

    def has(self, id: str) -> bool:
        """Whether a process has registered the instance ``id``."""
        return id in self._by_id

    def drop(self, id: str, binding: Binding) -> None:
        """Have the instance ``id`` live no longer than that."""
        binding.ids.pop(id, None)
        if self._by_id.get(id) is binding:
            del self._by_id[id]

    def forget(self, binding: Binding) -> None:
        """Forget the session of ``binding``."""
        self._kept.pop(binding, None)
        if self._by_session.get(binding.session) is binding:
            del self._by_session[binding.session]
