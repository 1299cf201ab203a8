"""Limits of the balancer that are no settings, each with its unit and its reason."""

from __future__ import annotations

from typing import Final

#: How long an instance rests after a failed connect (seconds); doubled by each further failure that is not forgotten.
#: Long enough that a dead one costs the callers of a busy service next to nothing.
REST_SECONDS: Final = 0.5

#: Longest rest (seconds): an instance that is back is used again after this at the latest.
REST_SECONDS_MAX: Final = 10.0

#: Time in which half of what is remembered of failures is forgotten (seconds).
FORGET_SECONDS: Final = 30.0

#: How long others keep off an instance that is given its first chance after a rest (seconds): one caller tries it.
TRIAL_SECONDS: Final = 1.0

#: Connections that an instance may always have before it counts as overloaded: so few say nothing about it.
OVERLOAD_MIN: Final = 8

#: How many times as many connections for its weight as the others an instance may have, beyond those, before it is
#: passed over. Twice is far from what chance does, and keeps an instance that hangs from holding all of them.
OVERLOAD_TIMES: Final = 2.0

#: Bytes taken from one side before they are given to the other. So much one slow reader can make us hold, and no more.
PIECE_BYTES: Final = 65_536

#: Wait after the process ran out of descriptors or memory for another connection (seconds); others may end meanwhile.
EXHAUSTED_SECONDS: Final = 0.1

#: Time between two log lines about connections that found no instance (seconds).
COMPLAINT_SECONDS: Final = 10.0

#: How long an agent may take to be reached and to begin its answer (seconds).
AGENT_PATIENCE_SECONDS: Final = 5.0

#: How long an agent's stream of events may be silent (seconds). It sends a keep-alive every 15 s: after twice as
#: long the connection is dead, though it was not closed.
AGENT_SILENCE_SECONDS: Final = 30.0

#: First and longest wait before an agent that went away is asked again (seconds); each wait doubles the last.
AGENT_WAIT_SECONDS: Final = 0.1
AGENT_WAIT_SECONDS_MAX: Final = 2.0

#: How long an agent that comes back may miss instances that we know of (seconds). One that was restarted begins with
#: nothing and learns the cluster's state in this time.
AGENT_SETTLE_SECONDS: Final = 10.0

#: How long a node in this process may look for a service before we open its port without an instance (seconds).
JOIN_SECONDS: Final = 3.0

#: Most bytes of an agent's event before its end. A snapshot of 10,000 instances is about 3 MB.
EVENT_BYTES_MAX: Final = 64 * 1024 * 1024

#: Most bytes of a TLS ClientHello with its record heads. Those of browsers have about 2 KB, with keys against quantum
#: computers included; HAProxy's buffer, which has to hold one there, has 16 KiB.
HELLO_BYTES_MAX: Final = 16_384

#: Most bytes of a PROXY protocol header. Addresses take 52 at most, what version 2 may tell besides is a few hundred.
HEADER_BYTES_MAX: Final = 4096

#: How long a caller that was refused by a TLS alert may take to close (seconds). Closed at once with bytes of its left
#: to be read, the connection would be reset, and the caller might not get the alert.
ALERT_SECONDS: Final = 1.0

#: How long a process that takes over the ports may take to be ready (seconds): to start, and to reach its agent or to
#: join. After that it is ended, and this one goes on.
SUCCESSOR_SECONDS: Final = 60.0
