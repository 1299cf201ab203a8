"""Subchannels: a gRPC channel to each instance of a service, and which of them the next call goes to.

As gRPC's own `round_robin` does, a connection to every instance is kept, and a call goes only to one that is connected
as long as any is. Which of those is the chooser's to say. A subchannel whose instance is gone is closed when its last
call has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

import attrs
import grpc
from grpc import ChannelConnectivity as State

from gossipreg.embed.chooser import Chooser, LookupSource
from gossipreg.errors import NoInstance
from gossipreg.model import Instance
from gossipreg.protocol.registry.choose import Key, key_of

#: Codes after which another instance might do better: it could not be reached, broke off, or took too long.
_FAILED: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})

#: What is sent with a call, which may say what its key is.
Metadata = Sequence[tuple[str, str | bytes]]

#: What the key of a call is, for calls that should go to the same instance as long as it is there; None: any.
KeyOf = Callable[[Mapping[str, str | bytes]], str | None]


class NoInstanceForCall(grpc.aio.AioRpcError):  # type: ignore[misc] # gRPC has no types
    """No instance of the service can be called now: what both of gRPC's APIs raise, with the code ``UNAVAILABLE``."""

    def __init__(self, details: str) -> None:
        nothing = grpc.aio.Metadata()
        super().__init__(grpc.StatusCode.UNAVAILABLE, nothing, nothing, details=details)

    def __reduce__(self) -> Any:
        return type(self), (self.details(),)


class GrpcConnection(Protocol):
    """A channel to one instance, of either API."""

    channel: Any

    @property
    def state(self) -> State:
        """Whether it is connected; it begins to connect where it has not."""

    def close(self) -> None:
        """End the connection."""


C = TypeVar("C", bound=GrpcConnection)


@attrs.define(eq=False, repr=False)
class Subchannel(Generic[C]):
    """The channel to one instance, and its calls."""

    instance: Instance
    connection: C
    _calls: int = attrs.field(init=False, default=0)
    _is_gone: bool = attrs.field(init=False, default=False)
    _methods: dict[tuple[object, ...], Any] = attrs.field(init=False, factory=dict)

    def method(self, kind: str, *arguments: Any) -> Any:
        """What calls that method at this instance; ``arguments`` are those of the channel's method ``kind``."""
        found = self._methods.get((kind, *arguments))
        if found is None:
            found = self._methods[kind, *arguments] = getattr(self.connection.channel, kind)(*arguments)
        return found

    def begin(self) -> None:
        """Record that a call has begun."""
        self._calls += 1

    def end(self) -> None:
        """Record that a call has ended."""
        self._calls -= 1
        self._close_if_unused()

    def leave(self) -> None:
        """Record that the instance is gone."""
        self._is_gone = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._is_gone and not self._calls:
            self.connection.close()


@attrs.define(eq=False, repr=False)
class Subchannels(Generic[C]):
    """The channels to all instances of one service. Any thread may use it."""

    service: str
    _chooser: Chooser
    _tag: str | None
    _role: str | None
    _key: KeyOf | None
    _open: Callable[[Instance], C]
    _of: dict[tuple[Key, str], Subchannel[C]] = attrs.field(init=False, factory=dict)
    _known: tuple[Instance, ...] = attrs.field(init=False, default=())
    _lock: threading.RLock = attrs.field(init=False, factory=threading.RLock)

    @classmethod
    def of(
        cls,
        registry: LookupSource | Chooser,
        service: str,
        open_: Callable[[Instance], C],
        *,
        tag: str | None,
        role: str | None,
        key: KeyOf | None,
    ) -> Subchannels[C]:
        """With a chooser for ``registry``, unless it is one."""
        chooser = registry if isinstance(registry, Chooser) else Chooser(registry)
        return cls(service, chooser, tag, role, key, open_)

    def refresh(self) -> list[Subchannel[C]]:
        """Those of the instances that there are now; opens and closes what is needed."""
        known = self._chooser.lookup(self.service, tag=self._tag, role=self._role)
        with self._lock:
            if known is not self._known and known != self._known:
                wanted = {_place(each): each for each in known if each.is_callable}
                for place in [place for place in self._of if place not in wanted]:
                    self._of.pop(place).leave()
                for place, instance in wanted.items():
                    if place not in self._of:
                        self._of[place] = Subchannel(instance, self._open(instance))
                self._known = known
            return list(self._of.values())

    def state(self) -> State:
        """The state of all as one: as good as the best."""
        states = {each.connection.state for each in self.refresh()}
        for state in (State.READY, State.CONNECTING, State.IDLE):
            if state in states:
                return state
        return State.TRANSIENT_FAILURE

    def begin(self, metadata: Any, *, must_be_ready: bool) -> SubchannelCall[C] | None:
        """Begin a call at an instance that is connected, or else at one that is connecting.

        None where ``must_be_ready`` and none is connected yet, though one may soon be. Raises `NoInstanceForCall`.
        """
        key = None if self._key is None else self._key(dict(metadata or ()))
        with self._lock:
            self.refresh()
            connecting: Subchannel[C] | None = None
            tried: list[Instance] = []
            while True:
                try:
                    instance = self._chooser.choose(
                        self.service, key=key, tag=self._tag, role=self._role, excluding=tried
                    )
                except NoInstance as error:
                    if connecting is None:
                        raise NoInstanceForCall(_why_none(self.service, tried, error)) from None
                    return None if must_be_ready else self._begun(connecting)
                tried.append(instance)
                subchannel = self._of.get(_place(instance))
                state = State.CONNECTING if subchannel is None else subchannel.connection.state
                if state is State.READY:
                    assert subchannel is not None, "only what is there has a state"
                    return self._begun(subchannel)
                if state is State.TRANSIENT_FAILURE:
                    self._chooser.report_failure(instance)
                elif connecting is None:
                    connecting = subchannel

    def close(self) -> None:
        """Close all of them, also those that have calls."""
        with self._lock:
            for each in self._of.values():
                each.connection.close()
            self._of.clear()
            self._known = ()

    def _begun(self, subchannel: Subchannel[C]) -> SubchannelCall[C]:
        subchannel.begin()
        self._chooser.begin(subchannel.instance)
        return SubchannelCall(self._chooser, subchannel, self._lock)


@attrs.define(eq=False, repr=False)
class SubchannelCall(Generic[C]):
    """A call in progress at one instance."""

    _chooser: Chooser
    subchannel: Subchannel[C]
    _lock: threading.RLock
    _has_ended: bool = attrs.field(init=False, default=False)

    def end(self, code: grpc.StatusCode | None) -> None:
        """Record that the call has ended with ``code``; None: not by itself. Only the first time counts."""
        with self._lock:
            if self._has_ended:
                return
            self._has_ended = True
            if code in _FAILED:
                self._chooser.report_failure(self.subchannel.instance)
            elif code not in (None, grpc.StatusCode.CANCELLED):
                self._chooser.report_success(self.subchannel.instance)
            self._chooser.end(self.subchannel.instance)
            self.subchannel.end()


def options_for(service: str, options: Sequence[tuple[str, object]]) -> list[tuple[str, object]]:
    """The options of a channel to an instance: the server sees, and its certificate names, the service.

    A proxy of the environment is not used between a caller and an instance.
    """
    ours = {
        "grpc.default_authority": service,
        "grpc.ssl_target_name_override": service,
        "grpc.enable_http_proxy": 0,
    }
    return list((ours | dict(options)).items())


#: The arguments of a channel's methods that make callables, in their order.
_NAMES: Final = ("method", "request_serializer", "response_deserializer", "_registered_method")


def all_arguments(arguments: Sequence[Any], options: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments in their order; the last, which older versions of gRPC lack, only where it is set."""
    given = dict(zip(_NAMES, arguments, strict=False)) | options
    return tuple(given.get(name) for name in _NAMES[: 4 if given.get("_registered_method") else 3])


def _place(instance: Instance) -> tuple[Key, str]:
    return key_of(instance), str(instance.address)


def _why_none(service: str, tried: Sequence[Instance], error: NoInstance) -> str:
    if not tried:
        return str(error)
    return f"no instance of {service!r} can be connected to now: tried {', '.join(str(each.address) for each in tried)}"
