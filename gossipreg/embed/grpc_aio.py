"""`gossipreg.embed.grpc` for ``grpc.aio``: ``stub = OrdersStub(AsyncServiceChannel(node, "orders"))``.

A call begins at once, at an instance that is connected, or at one that is connecting as long as none is: right after
the channel was made, that one may turn out not to answer. ``await channel.channel_ready()`` waits until one is
connected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

import attrs
import grpc
import grpc.aio
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

__all__ = ["AsyncServiceChannel", "NoInstanceForCall"]

#: Between two looks while a change of the state is waited for (seconds).
LOOK_SECONDS: Final = 0.01


@attrs.define(eq=False, repr=False)
class _AsyncConnection:
    """A channel to one instance."""

    channel: grpc.aio.Channel
    _closing: set[asyncio.Task[None]]

    @property
    def state(self) -> State:
        return self.channel.get_state(try_to_connect=True)

    def close(self) -> None:
        task = asyncio.get_running_loop().create_task(self.channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


class AsyncServiceChannel(grpc.aio.Channel):  # type: ignore[misc] # gRPC has no types
    """A channel to the instances of ``service``, for the stubs of asyncio programs.

    ``registry`` is a node of any kind, or a `Chooser` that says how to choose. ``credentials`` are gRPC's channel
    credentials; None: in clear. ``options``, ``compression`` and ``interceptors`` are those of gRPC's channels. ``tag``
    and ``role`` narrow the service. ``key`` finds a call's key in its metadata, for calls that should go to the same
    instance. To be made in the event loop that it is used in.
    """

    def __init__(
        self,
        registry: LookupSource | Chooser,
        service: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        options: Sequence[tuple[str, object]] = (),
        compression: grpc.Compression | None = None,
        interceptors: Sequence[grpc.aio.ClientInterceptor] | None = None,
        tag: str | None = None,
        role: str | None = None,
        key: KeyOf | None = None,
    ) -> None:
        self._credentials = credentials
        self._options = options_for(service, options)
        self._compression = compression
        self._interceptors = interceptors
        self._tasks: set[asyncio.Task[None]] = set()
        self._subchannels = Subchannels.of(registry, service, self._open, tag=tag, role=role, key=key)
        self._subchannels.state()  # connects to all

    def _open(self, instance: Instance) -> _AsyncConnection:
        target = str(instance.address)
        if self._credentials is None:
            channel = grpc.aio.insecure_channel(target, self._options, self._compression, self._interceptors)
        else:
            channel = grpc.aio.secure_channel(
                target, self._credentials, self._options, self._compression, self._interceptors
            )
        return _AsyncConnection(channel, self._tasks)

    def begin(self, metadata: Any) -> SubchannelCall[_AsyncConnection]:
        """Begin a call at an instance. Raises `NoInstanceForCall`."""
        call = self._subchannels.begin(metadata, must_be_ready=False)
        assert call is not None, "none is needed to be ready"
        return call

    def watch(self, call: SubchannelCall[_AsyncConnection], rpc: grpc.aio.Call) -> None:
        """Record the end of the call when it comes."""

        async def record() -> None:
            code = None
            try:
                code = await rpc.code()
            finally:
                call.end(code)

        task = asyncio.get_running_loop().create_task(record())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def unary_unary(self, *arguments: Any, **options: Any) -> _Unary:
        """What calls a method, as gRPC's channels have it."""
        return _Unary(self, "unary_unary", arguments, options)

    def unary_stream(self, *arguments: Any, **options: Any) -> _Unary:
        """What calls a method, as gRPC's channels have it."""
        return _Unary(self, "unary_stream", arguments, options)

    def stream_unary(self, *arguments: Any, **options: Any) -> _Stream:
        """What calls a method, as gRPC's channels have it."""
        return _Stream(self, "stream_unary", arguments, options)

    def stream_stream(self, *arguments: Any, **options: Any) -> _Stream:
        """What calls a method, as gRPC's channels have it."""
        return _Stream(self, "stream_stream", arguments, options)

    def get_state(self, try_to_connect: bool = False) -> State:  # noqa: ARG002 -- gRPC's signature
        """The state of the best instance; it always connects."""
        return self._subchannels.state()

    async def wait_for_state_change(self, last_observed_state: State) -> None:
        """Wait until the state is another one."""
        while self.get_state() is last_observed_state:  # noqa: ASYNC110 - instances come by no event of gRPC's
            await asyncio.sleep(LOOK_SECONDS)

    async def channel_ready(self) -> None:
        """Wait until an instance is connected."""
        while (state := self.get_state()) is not State.READY:
            await self.wait_for_state_change(state)

    async def close(self, grace: float | None = None) -> None:
        """Close all connections: calls that are in progress end, or may go on for ``grace`` seconds."""
        closing = [each.connection.channel.close(grace) for each in self._subchannels.refresh()]
        await asyncio.gather(*closing)
        self._subchannels.close()
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Method:
    """A method of the service."""

    def __init__(
        self, channel: AsyncServiceChannel, kind: str, arguments: Sequence[Any], options: dict[str, Any]
    ) -> None:
        self._channel = channel
        self._kind = kind
        self._arguments = all_arguments(arguments, options)

    def _call(self, request: Any, options: dict[str, Any]) -> Any:
        call = self._channel.begin(options.get("metadata"))
        try:
            rpc = call.subchannel.method(self._kind, *self._arguments)(request, **options)
        except BaseException:
            call.end(None)
            raise
        self._channel.watch(call, rpc)
        return rpc


class _Unary(_Method, grpc.aio.UnaryUnaryMultiCallable, grpc.aio.UnaryStreamMultiCallable):  # type: ignore[misc]  # gRPC has no types
    """A method with one request."""

    def __call__(self, request: Any, **options: Any) -> Any:
        return self._call(request, options)


class _Stream(_Method, grpc.aio.StreamUnaryMultiCallable, grpc.aio.StreamStreamMultiCallable):  # type: ignore[misc]  # gRPC has no types
    """A method with a stream of requests."""

    def __call__(
        self, request_iterator: Any = None, timeout: float | None = None, metadata: Any = None, **options: Any
    ) -> Any:
        return self._call(request_iterator, options | {"timeout": timeout, "metadata": metadata})
