"""Limits of the DNS frontend, each with its unit and its reason."""

from __future__ import annotations

from typing import Final

#: Longest query read (bytes). A name, a type and EDNS options take 300; padding (RFC 8467) rounds up to 512.
QUERY_BYTES_MAX: Final = 1232

#: Longest answer over UDP to a client that does not say how much it takes (RFC 1035 §4.2.1), in bytes.
UDP_BYTES_PLAIN: Final = 512

#: Longest answer over UDP to a client that says so by EDNS (bytes): the most that HAProxy can be told to take. Longer
#: ones go over TCP.
UDP_BYTES_MAX: Final = 8192

#: Longest answer over TCP (bytes): its length is sent in 16 bits.
TCP_BYTES_MAX: Final = 65_535

#: Bytes a second that all clients of one network beyond loopback are sent over UDP before they are to ask over TCP, and
#: for how many seconds' worth they may be sent at once: an HAProxy that follows eight large services; 0.5 Mbit/s.
UNPROVEN_BYTES_PER_SECOND: Final = 65_536
UNPROVEN_BURST_SECONDS: Final = 2.0

#: Networks whose share is remembered, those sent to last. Each takes some 200 bytes.
UNPROVEN_NETWORKS_MAX: Final = 4096

#: Records of a service in one answer, over TCP, which could carry four times as many addresses: to draw and write them
#: takes 3 ms. The rest is cut, and said to be.
ANSWER_RECORDS_MAX: Final = 1024

#: Queries answered in one batch, and how long that may take (seconds), before the rest of the node gets its turn.
#: Cached they take 10 us each; with nothing cached, some 300 us, and of a large service
#: that has changed, milliseconds: so the clock is looked at after each.
BATCH_MAX: Final = 64
BATCH_SECONDS: Final = 0.002

#: Arriving queries that the kernel keeps while we are busy (bytes): about a thousand.
RECEIVE_BUFFER_BYTES: Final = 1024 * 1024

#: How long a question waits for the first answer about another region (seconds): resolvers ask again after 2 to 5 s.
FIRST_ANSWER_SECONDS: Final = 1.8

#: Questions that wait for that at one time, each some 2 KiB. Further ones are told at once that it is not known.
WAITING_MAX: Final = 256

#: TCP connections at once. They come for what UDP could not carry, ask, and go.
CONNECTIONS_MAX: Final = 128

#: How long a TCP connection may take for its next query (RFC 7766 §6.2.3 asks for some seconds).
IDLE_SECONDS: Final = 10.0

#: How long a client may take for one answer over TCP.
TAKE_SECONDS: Final = 10.0

#: Encoded answers kept (bytes): of more than a thousand services with a few addresses, each in all its orders.
CACHE_BYTES: Final = 16 * 1024 * 1024

#: Questions whose answers are kept. Each takes some 1,000 bytes beside its answers.
QUESTIONS_MAX: Final = 8192

#: Longest TTL of an answer (seconds, RFC 2181 §8).
TTL_MAX: Final = 2**31 - 1

#: Instances that are kept in pools, each in as many as names ask for it. Each takes some 300 bytes: 30 MiB.
POOLED_INSTANCES_MAX: Final = 100_000

#: For so many instances the pool of a prepared query counts at least: so no more than 2,000 are kept.
POOL_COST_MIN: Final = 50

#: Queries recognised by their very bytes, without being read. Each takes some 200 bytes.
RECOGNISED_MAX: Final = 16_384

#: Orders of the same records that are handed out in turn. A Fibonacci number: so many lots in a row, a golden step from
#: one to the next, share the first place out most evenly, and 10,000 answers pass for 10,000 fair draws (chi-squared).
ORDERS: Final = 89

#: Answers from one cache entry after which one of its orders is drawn anew. So in the long run each instance comes
#: first as often as its weight says, though nearly every answer is a copy.
ANSWERS_PER_DRAW: Final = 256

#: Longest that a client may remember that something is not there (seconds), whatever the TTL of what is there.
NEGATIVE_TTL_MAX: Final = 5

#: Longest string in a TXT record (bytes, RFC 1035 §3.3); a `key=value` that does not fit is left out.
TXT_BYTES_MAX: Final = 255

#: Longest TXT record (bytes): what HTTP tells better is left out of it, the last entries of meta first.
TXT_RECORD_BYTES_MAX: Final = 4096
