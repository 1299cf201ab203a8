"""A gRPC channel to a service: each call goes to an instance that is chosen then, among those that are connected.

``stub = OrdersStub(ServiceChannel(node, "orders"))``. For ``grpc.aio`` there is `gossipreg.embed.grpc_aio`.

gRPC for Python has no public way to add a resolver or a balancing policy, so this channel holds an ordinary one to each
instance. Its calls are gRPC's own, with all that interceptors, deadlines and metadata do. Weights, ports, drained
instances and changes are seen at once, unlike with DNS.

A call has failed with ``UNAVAILABLE`` or ``DEADLINE_EXCEEDED``; its instance then rests. The server sees the service's
name as the authority, and a certificate is checked against it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

import attrs
import grpc
from grpc import ChannelConnectivity as State

from gossipreg.embed.chooser import Chooser, LookupSource
from gossipreg.embed.subchannels import (
    KeyOf,
    NoInstanceForCall,
    SubchannelCall,
    Subchannels,
    all_arguments,
    options_for,
)
from gossipreg.model import Instance

__all__ = ["NoInstanceForCall", "ServiceChannel"]

#: Between two looks while no instance is connected, or a change of the state is waited for (seconds).
LOOK_SECONDS: Final = 0.01

#: gRPC's own numbers of the states.
_STATES: Final = {each.value[0]: each for each in State}


@attrs.define(eq=False, repr=False)
class _Connection:
    """A channel to one instance."""

    channel: grpc.Channel

    @property
    def state(self) -> State:
        # ``grpc.aio`` has this as `get_state`. The only public way here is `subscribe`, which costs a thread for each
        # channel that polls five times a second, and raises in it when the channel is closed. A test says which version
        # of gRPC no longer has what is used instead.
        try:
            number = self.channel._channel.check_connectivity_state(True)  # noqa: SLF001 -- see above
        except AttributeError:  # a later version may lack it: then the first call to each instance finds out
            return State.READY
        return _STATES.get(number, State.READY)

    def close(self) -> None:
        self.channel.close()


class ServiceChannel(grpc.Channel):  # type: ignore[misc] # gRPC has no types
    """A channel to the instances of ``service``, for the stubs of programs with threads.

    ``registry`` is a node of any kind, or a `Chooser` that says how to choose. ``credentials`` are gRPC's channel
    credentials; None: in clear. ``options`` and ``compression`` are those of gRPC's channels. ``tag`` and ``role``
    narrow the service. ``key`` finds a call's key in its metadata, for calls that should go to the same instance.
    """

    def __init__(
        self,
        registry: LookupSource | Chooser,
        service: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        options: Sequence[tuple[str, object]] = (),
        compression: grpc.Compression | None = None,
        tag: str | None = None,
        role: str | None = None,
        key: KeyOf | None = None,
    ) -> None:
        self._credentials = credentials
        self._options = options_for(service, options)
        self._compression = compression
        self._watchers: list[Callable[[State], None]] = []
        self._is_closed = False
        self._subchannels = Subchannels.of(registry, service, self._open, tag=tag, role=role, key=key)
        self._subchannels.state()  # connects to all

    def _open(self, instance: Instance) -> _Connection:
        target = str(instance.address)
        if self._credentials is None:
            channel = grpc.insecure_channel(target, self._options, self._compression)
        else:
            channel = grpc.secure_channel(target, self._credentials, self._options, self._compression)
        return _Connection(channel)

    def begin(self, metadata: Any, timeout: float | None, *, wait_for_ready: bool) -> SubchannelCall[_Connection]:
        """Begin a call at an instance, once one is connected. Raises `NoInstanceForCall`.

        Waits for ``timeout`` seconds at most; not at all if no connection is under way, unless ``wait_for_ready``.
        """
        until = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            is_late = time.monotonic() >= until
            try:
                # When the time is up the call goes where a connection is under way, and gRPC says that it is too late.
                call = self._subchannels.begin(metadata, must_be_ready=not is_late)
            except NoInstanceForCall:
                if is_late or not wait_for_ready:
                    raise
                call = None
            if call is not None:
                return call
            time.sleep(LOOK_SECONDS)

    def unary_unary(self, *arguments: Any, **options: Any) -> _Blocking:
        """What calls a method, as gRPC's channels have it."""
        return _Blocking(self, "unary_unary", *all_arguments(arguments, options))

    def stream_unary(self, *arguments: Any, **options: Any) -> _Blocking:
        """What calls a method, as gRPC's channels have it."""
        return _Blocking(self, "stream_unary", *all_arguments(arguments, options))

    def unary_stream(self, *arguments: Any, **options: Any) -> _Streaming:
        """What calls a method, as gRPC's channels have it."""
        return _Streaming(self, "unary_stream", *all_arguments(arguments, options))

    def stream_stream(self, *arguments: Any, **options: Any) -> _Streaming:
        """What calls a method, as gRPC's channels have it."""
        return _Streaming(self, "stream_stream", *all_arguments(arguments, options))

    def subscribe(self, callback: Callable[[State], None], try_to_connect: bool = False) -> None:  # noqa: ARG002 -- gRPC's signature
        """Have a thread tell ``callback`` of the state, which is that of the best instance; it always connects."""
        self._watchers.append(callback)
        threading.Thread(target=self._tell, args=(callback,), name="gossipreg gRPC states", daemon=True).start()

    def unsubscribe(self, callback: Callable[[State], None]) -> None:
        """Have ``callback`` told no more."""
        if callback in self._watchers:
            self._watchers.remove(callback)

    def _tell(self, callback: Callable[[State], None]) -> None:
        last = None
        while callback in self._watchers and not self._is_closed:
            state = self._subchannels.state()
            if state is not last:
                last = state
                callback(state)
            time.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """Close all connections, which ends the calls that are in progress."""
        self._is_closed = True
        self._subchannels.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Callable:
    """A method of the service."""

    def __init__(self, channel: ServiceChannel, kind: str, *arguments: Any) -> None:
        self._channel = channel
        self._kind = kind
        self._arguments = arguments

    def _begin(self, options: dict[str, Any]) -> tuple[SubchannelCall[_Connection], Any]:
        """A call that has begun, and what makes it."""
        call = self._channel.begin(
            options.get("metadata"), options.get("timeout"), wait_for_ready=bool(options.get("wait_for_ready"))
        )
        return call, call.subchannel.method(self._kind, *self._arguments)

    def _started(self, request: Any, options: dict[str, Any], *, name: str = "__call__") -> Any:
        """GRPC's own object for a call that goes on; its end is recorded."""
        call, method = self._begin(options)
        try:
            rpc = getattr(method, name)(request, **options)
        except BaseException:
            call.end(None)
            raise
        if not rpc.add_callback(lambda: call.end(rpc.code())):
            call.end(rpc.code())
        return rpc


class _Blocking(_Callable, grpc.UnaryUnaryMultiCallable, grpc.StreamUnaryMultiCallable):  # type: ignore[misc]  # gRPC has no types
    """A method with one answer."""

    def __call__(self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
        return self.with_call(request, timeout, metadata, **options)[0]

    def with_call(self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
        options |= {"timeout": timeout, "metadata": metadata}
        call, method = self._begin(options)
        try:
            answer, rpc = method.with_call(request, **options)
        except grpc.RpcError as error:
            call.end(error.code())
            raise
        except BaseException:
            call.end(None)
            raise
        call.end(rpc.code())
        return answer, rpc

    def future(self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
        return self._started(request, options | {"timeout": timeout, "metadata": metadata}, name="future")


class _Streaming(_Callable, grpc.UnaryStreamMultiCallable, grpc.StreamStreamMultiCallable):  # type: ignore[misc]  # gRPC has no types
    """A method with a stream of answers."""

    def __call__(self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
        return self._started(request, options | {"timeout": timeout, "metadata": metadata})
