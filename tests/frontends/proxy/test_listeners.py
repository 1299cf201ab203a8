"""Where a balancer listens, which addresses are its own, and sockets that it is handed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from gossipreg.frontends.proxy.listeners import OwnAddresses, plain_host, take_handed_over
from gossipreg.model import Address

#: An address of documentation (RFC 5737), which this host has not.
ELSEWHERE = "192.0.2.1"


@pytest.mark.parametrize(
    ("listening", "host", "is_own"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("127.0.0.1", "::ffff:7f00:1", True),
        ("0.0.0.0", "0:0:0:0:0:ffff:127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "127.9.9.9", True),
        ("0.0.0.0", ELSEWHERE, False),
        ("0.0.0.0", "::1", False),
        ("::", "127.0.0.1", True),
        ("::", "::1", True),
        ("::", ELSEWHERE, False),
        ("127.0.0.1", "localhost", False),
        ("::1", "::1%lo", True),
    ],
)
def test_what_leads_back_to_a_port_of_this_process_is_known(listening: str, host: str, is_own: bool) -> None:
    own = OwnAddresses()
    own.add([Address(listening, 9000)])
    assert own.includes(host, 9000) is is_own
    assert not own.includes(host, 9001)
    own.remove([Address(listening, 9000)])
    assert not own.includes(host, 9000)


def test_an_address_of_this_host_leads_back_to_a_port_at_all_addresses() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            any_socket.connect((ELSEWHERE, 9))  # sends nothing
        except OSError:
            pytest.skip("this host has no address but loopback")
        host = any_socket.getsockname()[0]
    own = OwnAddresses()
    own.add([Address("0.0.0.0", 9000)])
    assert own.includes(host, 9000)


async def test_a_name_that_leads_back_is_known_by_its_addresses() -> None:
    own = OwnAddresses()
    own.add([Address("0.0.0.0", 9000)])
    assert await own.include_name("localhost", 9000)
    assert not await own.include_name("localhost", 9001)
    assert not await own.include_name("." * 3, 9000)


def test_an_address_stays_ours_until_the_last_port_at_it_is_closed() -> None:
    own, at = OwnAddresses(), [Address("127.0.0.1", 9000)]
    own.add(at)
    own.add(at)
    own.remove(at)
    assert own.includes("127.0.0.1", 9000)


@pytest.mark.parametrize("host", ["::ffff:10.0.0.1", "10.0.0.1"])
def test_an_ipv4_address_is_shown_as_one(host: str) -> None:
    assert plain_host(host) == "10.0.0.1"


def test_no_socket_is_taken_that_was_handed_to_another_process() -> None:
    assert take_handed_over({"LISTEN_PID": str(os.getppid()), "LISTEN_FDS": "1"}) == {}
    assert take_handed_over({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"}) == {}
    assert take_handed_over({}) == {}


#: Has the sockets of its parent, from descriptor 3 on, and says where those listen that it takes.
_TAKER = """
import os
from gossipreg.frontends.proxy.listeners import take_handed_over
found = take_handed_over({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"})
print(*(f"{address} {len(sockets)}" for address, sockets in found.items()))
"""


def test_listening_sockets_that_are_handed_over_are_known_by_their_address() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET) as other,  # which does not listen
    ):
        at = Address(*server.getsockname())

        def hand_over() -> None:
            for target, source in ((10, server.fileno()), (11, other.fileno()), (3, 10), (4, 11)):
                os.dup2(source, target)

        ran = subprocess.run(
            [sys.executable, "-c", _TAKER],
            preexec_fn=hand_over,
            close_fds=False,
            capture_output=True,
            text=True,
            check=True,
        )
    assert ran.stdout == f"{at} 1\n"
