"""The counters of a node: every event that is counted, with its name, its unit and what it means.

Code counts with a member of `Count`, never with a string, so that a counter cannot exist without its help text.
A node starts with all of them at 0 (`all_at_zero`): an event that has not happened yet can be told from one that this
version does not count. The members are strings: ``counters["lags"]`` reads what `Count.LAGS` has counted.
"""

from __future__ import annotations

import enum
from collections import Counter
from typing import Self


class Described(enum.StrEnum):
    """A name that counters are kept under, with its ``unit`` and its ``help``: one sentence."""

    unit: str
    help: str

    def __new__(cls, name: str, unit: str, help_: str) -> Self:  # noqa: D102 -- the class says it
        made = str.__new__(cls, name)
        made._value_ = name
        made.unit = unit
        made.help = help_
        return made


class Count(Described):
    """What a node and its frontends count. The names are public: HTTP and Prometheus show them."""

    # Cells

    CELLS_CROSSINGS = "cells_crossings", "streams", "Streams that this node has opened to other cells, as a relay."
    CELLS_CUT_OFF = "cells_cut_off", "times", "Times that nothing was heard of another cell for too long."
    CELLS_MISMATCHED = (
        "cells_mismatched",
        "peers",
        "Streams and updates refused: of a peer that has a cell where this node has none, or the reverse.",
    )
    CELLS_CLAIMS_REFUSED = (
        "cells_claims_refused",
        "claims",
        "Statements of peers refused: about members of a cell that the peer is not of, or of too many cells.",
    )
    CELLS_NAMES_TAKEN = (
        "cells_names_taken",
        "updates",
        "Updates about a member of another cell refused: a member of this node's cell has its name.",
    )
    CELLS_GHOSTS_FAILED = (
        "cells_ghosts_failed",
        "members",
        "Members that only another cell remembered of this node's cell, and that this node has therefore failed.",
    )

    # Packets

    PACKETS_RECEIVED = "packets_received", "packets", "Gossip packets that were accepted and read."
    PACKETS_SENT = "packets_sent", "packets", "Gossip packets handed to the kernel, those that it refused included."
    BYTES_RECEIVED = "bytes_received", "bytes", "Size of the packets accepted, as encoded, without IP and UDP."
    BYTES_SENT = "bytes_sent", "bytes", "Size of the packets sent, as encoded, without IP and UDP headers."
    PACKETS_OVER_SEND_BUFFER = (
        "packets_over_send_buffer",
        "packets",
        "Packets dropped because the kernel's send buffer was full.",
    )
    SEND_ERRORS = "send_errors", "packets", "Packets that the kernel refused to send, such as for want of a route."
    PACKETS_UNSENT = "packets_unsent", "packets", "Packets that this host's own kernel rejected: a firewall, no route."
    RECEIVE_ERRORS = "receive_errors", "errors", "Errors that the kernel reported instead of a packet (ICMP)."
    JUNK_PACKETS = "junk_packets", "packets", "Packets and frames that were authentic, and could not be read."
    JUNK_MESSAGES = (
        "junk_messages",
        "messages",
        "Messages, and items of lists, left out of packets and frames that were authentic: they could not be read.",
    )
    STATEMENTS_ENDED = (
        "statements_ended",
        "statements",
        "Statements of peers refused: the certificate that they are signed under was revoked or is not in force.",
    )
    STATEMENTS_REFUSED = (
        "statements_refused",
        "statements",
        "Statements of peers refused: not signed by whom they are about, or beyond its certificate.",
    )
    STATEMENTS_UNSIGNED = (
        "statements_unsigned",
        "statements",
        "Statements of peers refused: not signed, where they have to be.",
    )
    ANSWERS_TOO_LONG = (
        "answers_too_long",
        "packets",
        "Answers not sent: three times as long as the question, or more, and for an address that proves nothing.",
    )
    MESSAGES_FAILED = (
        "messages_failed",
        "messages",
        "Messages of peers left out for a bug in gossipreg, before they had changed anything. This should be 0.",
    )
    STATEMENTS_NOT_VERIFIED = (
        "statements_not_verified",
        "statements",
        "Signed statements of peers left out for now: their sender had too many signatures verified, or wrong ones.",
    )
    PACKETS_FORGED_AS_MEMBERS = (
        "packets_forged_as_members",
        "packets",
        "Packets and frames refused: under the run id of a member that proves what it sends, without its proof.",
    )
    PACKETS_UNPROVEN = (
        "packets_unproven",
        "packets",
        "Packets and frames taken for a stranger's: under the run id of a member that has proven none to this run yet.",
    )
    MEMBERS_EXPELLED = "members_expelled", "members", "Members dropped because their certificate was revoked or ended."
    CERTIFICATES_ISSUED = (
        "certificates_issued",
        "certificates",
        "Certificates that this agent, as an issuer, has given.",
    )
    CERTIFICATES_REFUSED = (
        "certificates_refused",
        "requests",
        "Requests for a certificate that this agent, as an issuer, has refused.",
    )
    CERTIFICATES_RENEWED = "certificates_renewed", "renewals", "Times that this node's certificate was renewed in time."
    CERTIFICATE_RENEWALS_FAILED = (
        "certificate_renewals_failed",
        "attempts",
        "Attempts to have this node's certificate renewed that have failed.",
    )
    OWN_PACKETS = "own_packets", "packets", "Packets that this node itself had sent, and that came back to it."

    # Packets that are refused: one for each `Refusal`

    PACKETS_TOO_SHORT = "packets_too_short", "packets", "Packets refused: shorter than any of ours."
    PACKETS_TOO_LONG = "packets_too_long", "packets", "Packets refused: longer than this node reads."
    PACKETS_WRONG_VERSION = "packets_wrong_version", "packets", "Packets refused: not gossip, or of another version."
    PACKETS_IN_CLEAR = "packets_in_clear", "packets", "Packets refused: in clear, and this node holds a key."
    PACKETS_SEALED = "packets_sealed", "packets", "Packets refused: sealed, and this node holds no key."
    PACKETS_WRONG_CLUSTER_OR_CORRUPT = (
        "packets_wrong_cluster_or_corrupt",
        "packets",
        "Packets in clear refused: from a cluster of another name, or changed on the way.",
    )
    PACKETS_UNKNOWN_KEY = "packets_unknown_key", "packets", "Packets refused: sealed with another key."
    PACKETS_FORGED = (
        "packets_forged",
        "packets",
        "Packets refused: changed on the way, made without the key, or of another cluster with the same key.",
    )
    PACKETS_REFLECTED = "packets_reflected", "packets", "Packets refused: sealed by this node, and sent back to it."
    PACKETS_REPLAYED = "packets_replayed", "packets", "Packets refused: received before."
    PACKETS_LATE = (
        "packets_late",
        "packets",
        "Packets refused: so far behind the sender's newest that they may be replays.",
    )
    PACKETS_LEAPT = (
        "packets_leapt",
        "packets",
        "Packets refused: so far ahead of the sender's last that another holder of the key must have made them.",
    )
    PACKETS_STALE = (
        "packets_stale",
        "packets",
        "Packets refused: sent too long ago, or by a clock that differs too much from this one.",
    )
    PACKETS_TOO_MANY_SENDERS = (
        "packets_too_many_senders",
        "packets",
        "Packets refused: from more senders than are told apart.",
    )

    PACKETS_OVER_BUDGET = (
        "packets_over_budget",
        "packets",
        "Packets dropped unread: too many came from senders not met before, and each costs a key derivation.",
    )

    # Streams

    FRAMES_RECEIVED = "frames_received", "frames", "Frames read from streams of gossip."
    COMPARISONS_PACED = (
        "comparisons_paced",
        "comparisons",
        "Comparisons of newcomers that waited for their turn, because many joined by this node together.",
    )
    COMPARISONS_OVER_LIMIT = (
        "comparisons_over_limit",
        "comparisons",
        "Comparisons cut off: the peer sent more before its turn had come, or too much of others waited.",
    )
    QUESTIONS_REPEATED = (
        "questions_repeated",
        "questions",
        "Questions not answered: the peer had asked them on the same stream before. No member repeats one.",
    )
    STREAMS_OPENED = "streams_opened", "streams", "Streams that this node set out to open."
    STREAMS_REFUSED = (
        "streams_refused",
        "streams",
        "Streams not opened: the peer's kernel answered that no process listens.",
    )
    STREAMS_NOT_CONNECTED = "streams_not_connected", "streams", "Streams not opened for any other reason, or in time."
    STREAMS_OVER_LIMIT = "streams_over_limit", "streams", "Streams not opened or not accepted: too many are open."
    STREAMS_GAVE_WAY = (
        "streams_gave_way",
        "streams",
        "Accepted streams closed in favour of one from a source that held fewer; mostly of strangers.",
    )
    STREAMS_TOO_SLOW = "streams_too_slow", "streams", "Streams closed: the peer did not take what was queued for it."
    STREAMS_SILENT = "streams_silent", "streams", "Streams closed: no whole frame came for too long."
    STREAMS_BROKEN = "streams_broken", "streams", "Streams that broke off."
    STREAMS_NOT_ACCEPTED = (
        "streams_not_accepted",
        "times",
        "Times that no stream could be accepted, for want of descriptors or because too many wait.",
    )

    # Streams that are refused: one for each `StreamRefusal`

    STREAMS_NOT_GOSSIPREG = "streams_not_gossipreg", "streams", "Streams closed: the peer does not speak gossip."
    STREAMS_WRONG_VERSION = "streams_wrong_version", "streams", "Streams closed: the peer speaks another version."
    STREAMS_IN_CLEAR = "streams_in_clear", "streams", "Streams closed: the peer holds no key, and this node does."
    STREAMS_SEALED = "streams_sealed", "streams", "Streams closed: the peer holds a key, and this node does not."
    STREAMS_UNKNOWN_KEY = "streams_unknown_key", "streams", "Streams closed: the peer holds another key."
    STREAMS_WRONG_CLUSTER_OR_CORRUPT = (
        "streams_wrong_cluster_or_corrupt",
        "streams",
        "Streams in clear closed: the peer's cluster has another name, or the hello was changed on the way.",
    )
    STREAMS_CLOCK_SKEW = (
        "streams_clock_skew",
        "streams",
        "Streams closed: the clock of a node that wants to join, or of the seed, is too far from this one.",
    )
    STREAMS_REFLECTED = "streams_reflected", "streams", "Streams closed: this node's own hello came back."
    STREAMS_FRAME_TOO_SHORT = "streams_frame_too_short", "streams", "Streams closed: a frame was shorter than any."
    STREAMS_FRAME_TOO_LONG = "streams_frame_too_long", "streams", "Streams closed: a frame was longer than allowed."
    STREAMS_FORGED = "streams_forged", "streams", "Streams closed: a frame was changed, repeated or out of order."

    # Dissemination

    DELIVERIES_REPEATED = (
        "deliveries_repeated",
        "packets",
        "Packets down a broadcast tree that repeat a message because no receipt came in time.",
    )
    DELIVERIES_FAILED = (
        "deliveries_failed",
        "messages",
        "Messages down a broadcast tree given up without a receipt from the child, after all repetitions.",
    )
    RECORDS_REQUESTED = (
        "records_requested",
        "requests",
        "Requests to a peer for records that gossip had not brought: a table digest, or a later record, told of them.",
    )
    REQUESTS_ANSWERED = (
        "requests_answered",
        "packets",
        "Packets with records sent to peers that had requested them.",
    )
    REQUESTS_OVER_BUDGET = (
        "requests_over_budget",
        "requests",
        "Requests for records, and packets of digests, not answered, or only in part: too many in a second or packet.",
    )

    # Membership

    PROBES_MISSED = "probes_missed", "probes", "Probes of other members that got no answer."
    REFUSALS = "refusals", "refusals", "Times that a member's kernel answered that no process listens there any more."
    SUSPICIONS = "suspicions", "suspicions", "Suspicions that this node was the first to raise, as far as it knew."
    FAILURES_DECLARED = "failures_declared", "members", "Members that this node declared failed."
    REFUTATIONS = "refutations", "times", "Times that this node refuted a suspicion or its failure."
    RETURNS_PUT_OFF = "returns_put_off", "times", "Times that flap damping delayed the refutation."
    CORRECTIONS = "corrections", "times", "Times that this node sent a peer its current update again."
    NAME_CONFLICTS = (
        "name_conflicts",
        "times",
        "Times that an older node was found under the name that this one runs under.",
    )
    LAGS = "lags", "times", "Times that this node itself was stopped, and gave others more time."
    GENERATIONS_FROM_THE_FUTURE = (
        "generations_from_the_future",
        "messages",
        "Messages about runs that cannot have begun yet, by this node's clock: dropped.",
    )
    UPDATES_TOO_OLD = "updates_too_old", "updates", "Updates about unknown members that are long gone: dropped."
    UPDATES_OVER_MEMBER_LIMIT = (
        "updates_over_member_limit",
        "updates",
        "Updates about members dropped: as many as allowed are remembered, and none of them is evicted.",
    )
    MEMBERS_GAVE_WAY = (
        "members_gave_way",
        "members",
        "Members forgotten to make room: those that this node has not heard first, then those that failed or left.",
    )

    # Registry

    RECONCILIATIONS = "reconciliations", "comparisons", "Comparisons of all state that this node began."
    RECORDS_OVER_OWNER_LIMIT = (
        "records_over_owner_limit",
        "records",
        "Records dropped: their owner has as many as allowed, or too many unknown owners' are held.",
    )
    RECORDS_OVER_TOTAL_LIMIT = (
        "records_over_total_limit",
        "records",
        "Records dropped: all owners together have as many as allowed, and no stranger's gives way to them.",
    )
    RECORDS_WITH_BAD_PAYLOAD = "records_with_bad_payload", "records", "Records dropped: they describe no instance."
    POLICIES_FROM_THE_FUTURE = (
        "policies_from_the_future",
        "policies",
        "Policies dropped: set by a clock that is too far ahead of this one.",
    )
    POLICIES_OVER_LIMIT = (
        "policies_over_limit",
        "policies",
        "Policies, and removals of some, dropped: as many as allowed are held.",
    )
    TERMS_FROM_THE_FUTURE = (
        "terms_from_the_future",
        "terms",
        "Resets of a service's term dropped: stamped by a clock that is too far ahead of this one.",
    )
    TERMS_TOO_HIGH = (
        "terms_too_high",
        "terms",
        "Terms, and records that state them, dropped: too high for any node to state a higher one.",
    )
    TERMS_MALFORMED = "terms_malformed", "terms", "Terms of services dropped: no node states such terms."
    TERMS_OVER_LIMIT = "terms_over_limit", "terms", "Terms dropped: of more services than a node remembers terms of."
    PANICKED_LOOKUPS = (
        "panicked_lookups",
        "lookups",
        "Lookups and picks answered with instances that were lost at once (panic threshold).",
    )

    # The node itself

    TASKS_FAILED = (
        "tasks_failed",
        "tasks",
        "Tasks that failed by a mistake of ours: the log says which. The node goes on without, or tries again.",
    )

    # HTTP

    HTTP_TLS_FAILED = (
        "http_tls_failed",
        "connections",
        "HTTP connections that sent something and ended in the TLS handshake: no TLS, or a certificate refused.",
    )
    AUDIT_LINES_LOST = (
        "audit_lines_lost",
        "lines",
        "Lines that the audit log could not take: its disk is full or failing. The changes were made all the same.",
    )
    HTTP_NOT_ACCEPTED = (
        "http_not_accepted",
        "times",
        "Times that no HTTP connection could be accepted, for want of descriptors or because too many wait.",
    )

    # Other regions

    FAILOVERS = (
        "failovers",
        "times",
        "Times that another region than the own one came into use for a service, for callers that fail over.",
    )
    REGION_ANSWERS = "region_answers", "answers", "Answers of agents of other regions about their services."
    REGION_FAILURES = (
        "region_failures",
        "times",
        "Times that an agent of another region could not be reached, refused, or was silent.",
    )
    REGION_JUNK = "region_junk", "answers", "Answers of agents of other regions that could not be used."
    REGION_ANSWERS_OVER_LIMIT = (
        "region_answers_over_limit",
        "services",
        "Times that a service of another region was not held: all that are followed there have too many instances.",
    )
    REGION_SERVICES_REFUSED = (
        "region_services_refused",
        "services",
        "Times that a service of another region was not followed: as many as may be are.",
    )

    # Attached processes

    ATTACH_STREAMS = "attach_streams", "streams", "Streams of attached processes that were accepted."
    ATTACH_JUNK = "attach_junk", "streams", "Streams of attached processes that were closed because of a bad frame."
    ATTACH_REFUSED = (
        "attach_refused",
        "streams",
        "Streams of attached processes that were refused: too many, no hello in time, another version, or the token.",
    )
    ATTACH_SLOW = (
        "attach_slow",
        "streams",
        "Streams of attached processes that were cut because the process did not read, or stopped in a frame.",
    )
    ATTACH_SILENT = (
        "attach_silent",
        "times",
        "Times that an attached process did not answer in time, so that its instances became critical.",
    )
    ATTACH_NOT_ACCEPTED = (
        "attach_not_accepted",
        "times",
        "Times that no attached process could be accepted, for want of descriptors or because too many wait.",
    )

    # DNS

    DNS_TLS_FAILED = (
        "dns_tls_failed",
        "connections",
        "Connections of DNS over TLS that sent something and ended in the handshake: no TLS, or no common version.",
    )

    DNS_ANSWERS = "dns_answers", "answers", "Answers to DNS queries, over UDP and TCP."
    DNS_MISTAKES = "dns_mistakes", "queries", "DNS queries left without an answer by a mistake of ours; see the log."
    DNS_SEND_ERRORS = "dns_send_errors", "answers", "Answers over UDP that the kernel refused to send."
    DNS_RECEIVE_ERRORS = "dns_receive_errors", "errors", "Errors that the kernel reported instead of a query (ICMP)."
    DNS_CONNECTIONS_REFUSED = (
        "dns_connections_refused",
        "connections",
        "DNS connections closed at once: too many are open.",
    )
    DNS_NOT_ACCEPTED = (
        "dns_not_accepted",
        "times",
        "Times that no DNS connection could be accepted, for want of descriptors or because too many wait.",
    )
    DNS_UNPROVEN_TRUNCATED = (
        "dns_unproven_truncated",
        "answers",
        "Answers cut to nothing, to be asked for over TCP: too much was sent to their network over UDP.",
    )
    DNS_JUNK_SIZE = "dns_junk_size", "queries", "DNS packets dropped: shorter or longer than any query."
    DNS_JUNK_NOT_A_QUERY = "dns_junk_not_a_query", "queries", "DNS packets dropped: answers, not queries."
    DNS_JUNK_OPCODE = "dns_junk_opcode", "queries", "DNS packets that ask for something else than records."
    DNS_JUNK_MALFORMED = "dns_junk_malformed", "queries", "DNS queries that cannot be read."
    DNS_JUNK_EDNS_VERSION = "dns_junk_edns_version", "queries", "DNS queries of a later version of EDNS."


def all_at_zero() -> Counter[str]:
    """The counters of a node that starts: every one is there."""
    return Counter(dict.fromkeys(Count, 0))
