"""The switch of the playground: what the kernels of real hosts would report, it lets this host's kernel report."""

from __future__ import annotations

import os
import socket

import pytest

from gossipreg.address import Address
from gossipreg.cli.demo.switch import PacketSwitch
from gossipreg.errors import GossipregError

#: How long loopback may take (seconds). Nothing waits so long but a test that fails.
PATIENCE = 20.0


def is_refused(address: Address) -> bool:
    """Whether the kernel answers a packet to ``address`` with "port unreachable", and a connection with a reset."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets:
        packets.connect((address.host, address.port))
        packets.send(b"ping")
        packets.settimeout(0)
        try:
            packets.recv(1)
        except BlockingIOError:
            return False
        except ConnectionRefusedError:
            pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.host, address.port), timeout=PATIENCE)
    return True


def test_what_is_sent_to_an_agent_that_has_ended_is_refused_until_it_runs_again() -> None:
    with PacketSwitch() as switch, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        bind, advertised = switch.add("web-2")
        sender, _ = switch.add("web-1")
        agent.bind((Address.parse(bind).host, Address.parse(bind).port))
        agent.settimeout(PATIENCE)
        where = Address.parse(advertised)
        switch.runs("web-2", os.getpid())
        assert not is_refused(where)
        for _ in range(2):
            switch.ended("web-2")
            assert is_refused(where)
            switch.runs("web-2", os.getpid())
            assert not is_refused(where)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind((Address.parse(sender).host, Address.parse(sender).port))
            other.settimeout(PATIENCE)
            other.sendto(b"ping", (where.host, where.port))
            data, source = agent.recvfrom(100)
            agent.sendto(b"ack", source)
            assert (data, other.recvfrom(100)) == (b"ping", (b"ack", (where.host, where.port)))


def test_a_port_that_another_program_has_taken_meanwhile_is_named() -> None:
    with PacketSwitch() as switch, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
        _, advertised = switch.add("web-2")
        switch.runs("web-2", os.getpid())
        switch.ended("web-2")
        where = Address.parse(advertised)
        thief.bind((where.host, where.port))
        with pytest.raises(GossipregError, match=f"no port {where.port} of loopback is free"):
            switch.runs("web-2", os.getpid())
