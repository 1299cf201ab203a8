"""The counters of one port of the balancer, each with its unit and what it means."""

from __future__ import annotations

from gossipreg.counters import Described


class ForwardCount(Described):
    """What one port of the balancer counts. Prometheus shows all of it, under names of its own (see ``metrics``)."""

    ACCEPTED = "accepted", "connections", "Connections of callers that were let in."
    FINISHED = "finished", "connections", "Connections that ended by themselves."
    DRAINED = "drained", "connections", "Connections cut because their instance, or this port, had gone."
    IDLE = "idle", "connections", "Connections cut because neither side said anything for too long."
    FAILED = "failed", "connections", "Connections that ended by a bug in gossipreg, which is logged."
    NO_INSTANCE = "no_instance", "connections", "Connections closed because no instance had room for them."
    NOT_CONNECTED = "not_connected", "connections", "Connections closed because no instance could be reached."
    UNKNOWN_NAME = "unknown_name", "connections", "Connections refused because their TLS server name leads nowhere."
    BAD_HELLO = "bad_hello", "connections", "Connections closed because they did not begin with a TLS ClientHello."
    BAD_HEADER = "bad_header", "connections", "Connections closed because they did not begin with a PROXY header."
    TOO_LATE = "too_late", "connections", "Connections closed because their first bytes did not come in time."
    CONNECTS_FAILED = "connects_failed", "tries", "Single tries of an instance that failed."
    EXHAUSTED = "exhausted", "times", "Times that descriptors, ports or memory ran out here."
    FAILOVERS = "failovers", "times", "Times that the instances of another region than the own one came into use."
    BYTES_IN = "bytes_in", "bytes", "Bytes from callers to instances."
    BYTES_OUT = "bytes_out", "bytes", "Bytes from instances to callers."
