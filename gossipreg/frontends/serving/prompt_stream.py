"""A client's socket that reads and writes without a checkpoint where the kernel is ready.

Theory of operation. trio's own stream asks the kernel for bytes before it waits for them, and has every other task
take a turn for each piece that it reads or writes. A client that polls says nothing before it has its answer: to ask
first is in vain. Only on a new connection the request is mostly there already, and is read at once: a busy loop then
answers two turns sooner. And an answer that the kernel takes whole needs no checkpoint. So here a piece is waited
for, then read; it is written, and only what was not taken is waited for. So an answer costs a turn and a system call
less.

After its first piece, a task that reads has waited, so each exchange has its turn. A task that only writes must see to
it that others have theirs.
"""

from __future__ import annotations

import os
from typing import Final

import attrs
import trio

#: Bytes read at once where no number is given.
_PIECE_BYTES: Final = 65_536


@attrs.define(eq=False, repr=False)
class PromptStream(trio.abc.HalfCloseableStream):
    """A stream of trio's, read and written without it where nothing needs to be waited for."""

    _stream: trio.SocketStream
    _is_new: bool = attrs.field(init=False, default=True)  # nothing was read yet

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for some bytes; none when no more will come. Raises ``BrokenResourceError``, ``ClosedResourceError``."""
        while True:
            if not self._is_new:
                await trio.lowlevel.wait_readable(self._descriptor())
            self._is_new = False
            try:
                return os.read(self._descriptor(), max_bytes or _PIECE_BYTES)  # closed meanwhile, it is not the same
            except BlockingIOError:  # the readiness notification was spurious
                continue
            except OSError as error:
                raise _broken(error) from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Hand over ``data``. A checkpoint only where the kernel does not take all of it at once. Raises likewise."""
        try:
            taken = os.write(self._descriptor(), data)
        except BlockingIOError:
            taken = 0
        except OSError as error:
            raise _broken(error) from error
        if taken < len(data):
            await self._stream.send_all(memoryview(data)[taken:])

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the kernel takes some more."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Say that no more will come."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close the socket."""
        await self._stream.aclose()

    def _descriptor(self) -> int:
        descriptor = self._stream.socket.fileno()
        if descriptor < 0:
            raise trio.ClosedResourceError("this socket was already closed")
        return descriptor


def _broken(error: OSError) -> trio.BrokenResourceError:
    return trio.BrokenResourceError(f"the connection broke: {error.strerror}")
