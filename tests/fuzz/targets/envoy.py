"""Target of the Envoy API: discovery requests as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gossipreg.frontends.envoy.api import WAIT_SECONDS_MAX, DiscoveryRequest
from gossipreg.frontends.serving.response import HttpError
from tests.fuzz.target import Target, check_error_text, outcome


def _envoy(data: bytes) -> str:
    try:
        poll = DiscoveryRequest.parse(data)
    except HttpError as error:
        check_error_text(error)
        return f"{outcome(error)} {str(error)[:24]}"
    assert 0 <= poll.wait <= WAIT_SECONDS_MAX
    hash(poll.clusters)
    return (
        f"{min(len(poll.clusters), 3)} {bool(poll.version)} {bool(poll.zone)} {poll.own_zone_first} {bool(poll.token)}"
    )


def _seeds() -> Iterator[bytes]:
    yield b'{"resource_names":["orders","orders|tag=v2|zone=north|role=primary"],"version_info":"1","node":{"id":"e"}}'
    yield (
        b'{"resourceNames":[],"typeUrl":"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment","node":'
        b'{"locality":{"zone":"north"},"metadata":{"gossipreg":{"priority":"zone","wait":5,"token":"t"}}}}'
    )


TARGETS: Final = (
    Target("envoy", "a body is a poll, or Refusal", _envoy, _seeds, (b'"node":{', b"|tag=", b"NaN", b"1e9")),
)
