"""msgpack documents: read with a bound on nesting, and without making room for items that are not there.

msgpack's reader makes room for as many items as a head states, for each head inside another: 256 KiB of heads would
have it make room for gigabytes, and take 0.2 s to find that the items are missing. So the bytes are skipped over once
before they are read. The packets and frames of gossip have a reader of their own (`gossipreg.protocol.wire.reader`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack

from gossipreg import limits
from gossipreg.nesting import check_depth


def read_msgpack(data: bytes, *, ext_hook: Callable[[int, bytes], Any] | None = None, use_list: bool = True) -> Any:
    """The value that ``data`` is. Raises ``ValueError`` for what is no msgpack, not whole, or nested too deeply.

    ``ext_hook`` makes values of extension types, which are refused without it; what it raises is passed on.
    """
    try:
        skipper = msgpack.Unpacker(max_buffer_size=max(1, len(data)))
        skipper.feed(data)
        skipper.skip()
        if skipper.tell() != len(data):
            raise ValueError("more than one value")
        value = msgpack.unpackb(data, ext_hook=ext_hook or _refuse, use_list=use_list)
    except msgpack.UnpackException as error:
        raise ValueError(f"not msgpack: {error or type(error).__name__}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    check_depth(value, limits.JSON_DEPTH_MAX)
    return value


def _refuse(code: int, _data: bytes) -> Any:
    raise ValueError(f"an extension type {code}, where none is expected")
