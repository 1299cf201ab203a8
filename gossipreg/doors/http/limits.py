"""Knows how much one HTTP client may ask for, hold and wait: every bound with its unit and its reason."""

from __future__ import annotations

from typing import Final

from gossipreg.limits import RECORD_BYTES_MAX

#: Connections at once. A process usually gets 1024 descriptors; the other half is for gossip and health checks.
CONNECTIONS_MAX: Final = 512

#: Connections beyond those that are told why they are refused; any further one is closed without a word.
REFUSALS_MAX: Final = 64

#: Event streams at once. They stay for hours: the rest of the connections is kept for those who ask and go.
EVENT_STREAMS_MAX: Final = 256

#: Longest request line and headers (bytes). Browsers with fat cookies send 8 KiB; nobody else comes near.
HEAD_BYTES_MAX: Final = 16_384

#: Longest request target (bytes). The longest that makes sense is a service with three long filters, encoded.
TARGET_BYTES_MAX: Final = 8_192

#: Largest request body (bytes). The largest record is packed tighter than JSON, which at worst doubles it.
BODY_BYTES_MAX: Final = 2 * RECORD_BYTES_MAX

#: Bytes read from a connection at once: a whole head, so that one connection cannot hold much unread.
RECEIVE_BYTES: Final = HEAD_BYTES_MAX

#: Bytes written at once: the piece of an answer that a client must take within `TAKE_SECONDS`.
SEND_BYTES: Final = 65_536

#: How long a connection may be silent between two requests. Most clients drop theirs sooner.
IDLE_SECONDS: Final = 60.0

#: How long a request may take from its first byte to its last, and a new connection until its first.
REQUEST_SECONDS: Final = 10.0

#: How long a client may take for one piece of an answer: time for any live one, on any link worth the name.
TAKE_SECONDS: Final = 10.0

#: How long a connection is read on after our last answer: closing with bytes unread would destroy that answer.
LINGER_SECONDS: Final = 1.0

#: Time between two signs of life on an event stream. Proxies and NATs cut what is silent for 30 to 60 s.
KEEP_ALIVE_SECONDS: Final = 15.0

#: Encoded lookup answers kept (bytes): some thousand services of ordinary size.
LOOKUP_CACHE_BYTES: Final = 8 * 1024 * 1024
