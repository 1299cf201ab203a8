"""Limits of the HTTP frontend, each with its unit and its reason."""

from __future__ import annotations

from typing import Final

from gossipreg.limits import RECORD_BYTES_MAX

#: Connections at once: all that may stay, and 1024 that ask and go. Each costs a descriptor and some 20 KiB: 180 MiB.
CONNECTIONS_MAX: Final = 9216

#: Connections at once where a process may have hardly any descriptors: with fewer, it is of no use.
CONNECTIONS_MIN: Final = 64

#: Connections that are accepted and wait for the loop to serve them, each source in turn. As many more wait in the
#: kernel's queue, so two thousand clients that come back at once are all served.
WAITING_TO_BE_SERVED_MAX: Final = 1024

#: The same where a process may have hardly any descriptors.
WAITING_TO_BE_SERVED_MIN: Final = 16

#: Descriptors that are left for the rest of an agent: streams of gossip, health checks, DNS, files.
OTHER_DESCRIPTORS: Final = 512

#: Connections beyond those that are answered with 503; any further one is closed without an answer.
REFUSALS_MAX: Final = 64

#: Event streams at once. They stay for hours. A change reaches a thousand of them within a quarter of a second.
EVENT_STREAMS_MAX: Final = 2048

#: Blocking reads at once that wait as long as they ask to. Prometheus makes one for each service. Any further one is
#: answered after `POLL_SECONDS`, so the rest of the connections is for clients that ask and go.
WAITING_MAX: Final = 6144

#: How long a blocking read beyond `WAITING_MAX` waits (seconds), and up to half as long again: its client then polls.
POLL_SECONDS: Final = 2.0

#: How long a blocking read waits unless it says so, and at most (seconds): what Consul's clients count on.
WAIT_SECONDS: Final = 300.0
WAIT_SECONDS_MAX: Final = 600.0

#: A blocking read may wait so many times its time longer: one sixteenth, as Consul's clients allow for.
WAIT_JITTER: Final = 16

#: Picks that one request has drawn. A thousand show a share of 1 % well enough; each takes a walk over the service.
PICKS_MAX: Final = 1000

#: How long what the members observe is answered again: so long for each member that was asked, since asking costs it a
#: stream, but within these bounds (seconds). So some ten streams a second are opened while a small cluster is watched.
OBSERVATIONS_KEPT_PER_MEMBER: Final = 0.1
OBSERVATIONS_KEPT_MIN: Final = 0.4
OBSERVATIONS_KEPT_MAX: Final = 2.0

#: Observers up to which each round trip is told: a matrix of more is not looked at cell by cell, and would be 200 KB.
OBSERVED_TRIPS_MAX: Final = 64

#: Longest request line and headers (bytes). Browsers with fat cookies send 8 KiB; no other client comes near.
HEAD_BYTES_MAX: Final = 16_384

#: Longest request target (bytes). The longest that makes sense is a service with three long filters, encoded.
TARGET_BYTES_MAX: Final = 8_192

#: Largest request body (bytes). The largest record is packed tighter than JSON, which at worst doubles it.
BODY_BYTES_MAX: Final = 2 * RECORD_BYTES_MAX

#: Largest body of a bulk registration as JSON lines (bytes): some 12,000 small instances. All of them are registered or
#: none, so the body is kept until its last line is read.
BULK_BYTES_MAX: Final = 2 * 1024 * 1024

#: Bodies over `BODY_BYTES_MAX` held at once: together no more than 16 MiB. Further ones are told to come again.
BULK_BODIES_MAX: Final = 8

#: Bytes read from a connection at once: a whole head, so that one connection cannot hold much unread.
RECEIVE_BYTES: Final = HEAD_BYTES_MAX

#: Bytes written at once: the piece of an answer that a client must take within `TAKE_SECONDS`.
SEND_BYTES: Final = 65_536

#: Answers and snapshots longer than `SEND_BYTES` on their way at once (bytes, each counted once however many clients
#: take it). Beyond that, the client that has been taking one for longest is let go: 512 slow ones cost 64 KiB each.
UNSENT_BYTES_MAX: Final = 32 * 1024 * 1024

#: How long a connection may be silent between two requests. Most clients drop theirs sooner.
IDLE_SECONDS: Final = 60.0

#: By how much that may be less for a client that has just sent a request (seconds). No client relies on the rest.
IDLE_LEEWAY_SECONDS: Final = 1.0

#: How long a request may take from its first byte to its last, and a new connection until its first.
REQUEST_SECONDS: Final = 10.0

#: How long a client may take for one piece of an answer: time for any live one, on any link worth the name.
TAKE_SECONDS: Final = 10.0

#: How long a registration with the next term waits for an agent that has just started to join (seconds): less than
#: our own clients' patience. A joiner has the whole state within some milliseconds of reaching a seed.
JOIN_SECONDS: Final = 3.0

#: How long a connection is read on after our last answer: closing with bytes unread would destroy that answer.
LINGER_SECONDS: Final = 1.0

#: Time between two keep-alives on an event stream. Proxies and NATs cut what is silent for 30 to 60 s.
KEEP_ALIVE_SECONDS: Final = 15.0

#: How long one request may work on before all others have their turn (seconds). Five of them and what the kernel adds
#: keep a turn of the loop under 10 ms.
SLICE_SECONDS: Final = 0.002

#: Instances kept as JSON (bytes): 30,000 of ordinary size. A list in which one has changed is put together from these.
ROW_CACHE_BYTES: Final = 8 * 1024 * 1024

#: Encoded lookup answers kept (bytes): some thousand services of ordinary size.
LOOKUP_CACHE_BYTES: Final = 8 * 1024 * 1024

#: Encoded events kept (bytes): some thousand of ordinary size. Watchers want the same within the same second.
FRAME_CACHE_BYTES: Final = 1024 * 1024

#: Changes that are told of later, and for how long (seconds): an hour for a person who comes to a problem late. Each is
#: some 700 bytes: 3 MiB.
CHANGES_MAX: Final = 4096
CHANGES_SECONDS: Final = 3600.0

#: Time between two samples of what the agent does (seconds), and samples kept: a quarter of an hour, 60 KiB.
RATE_SECONDS: Final = 5.0
RATE_SAMPLES: Final = 180

#: Tokens of one agent. Each is a person's or a program's, and each request is compared with all.
TOKENS_MAX: Final = 256

#: Shortest and longest token (characters). Fewer than 16 can be guessed; more than 512 are no token.
TOKEN_CHARS_MIN: Final = 16
TOKEN_CHARS_MAX: Final = 512
