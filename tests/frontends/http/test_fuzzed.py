"""Any client that believes the OpenAPI document is answered as it says: a few hundred requests, made from it.

Schemathesis makes them, always the same ones: such as the document allows, and such as it forbids. They go over
loopback to a listener with a real node, which has a thread to itself. No answer may be a mistake of ours, and each must
have a status code, a type, headers and a shape that the document knows of.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
import trio
from schemathesis.checks import (
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from gossipreg import Address, Config, open_node
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.http.openapi import document
from gossipreg.frontends.http.routes import ROUTES

SCHEMA = schemathesis.openapi.from_dict(document(ROUTES))

#: Streams of events do not end, so they are left to their own tests. A join that the document allows would call hosts
#: that are drawn.
OPERATIONS = [
    each.ok() for each in SCHEMA.get_all_operations() if isinstance(each, Ok) and each.ok().path != "/api/v1/events"
]

#: What can be asked, in each of the two ways; where there is nothing to choose, nothing can be wrong.
ASKED = [
    pytest.param(each, mode, id=f"{each.label}, {mode.value}")
    for each in OPERATIONS
    for mode in GenerationMode
    if (mode is GenerationMode.POSITIVE or [*each.query, *each.body])
    and (each.label, mode) != ("POST /api/v1/join", GenerationMode.POSITIVE)
]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


#: What the document allows is done, too, but for bounds that it cannot express: checks, credentials without a key,
#: splits all of whose shares are 0, keys of a cluster in clear, revocations and requests for certificates without an
#: authority, and what is for the agent's own region alone.
NOT_ALWAYS = (
    "PUT /api/v1/instances",
    "PUT /api/v1/policies",
    "PUT /api/v1/keys",
    "PUT /api/v1/primary_key",
    "PUT /api/v1/revocations",
    "POST /api/v1/certificates",
    "GET /api/v1/services/{name}",
)
ACCEPTING = [each.label for each in OPERATIONS if each.label not in NOT_ALWAYS]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where a node answers that cannot be made to leave."""
    ready = threading.Event()
    told: list[Address] = []
    trio_token: list[trio.lowlevel.TrioToken] = []
    done = trio.Event()

    async def serve() -> None:
        async with open_node(Config(name="alpha", bind="127.0.0.1:0")) as node, trio.open_nursery() as nursery:
            told.append(await nursery.start(partial(serve_http, node, Address("127.0.0.1", 0), leave=lambda: None)))
            trio_token.append(trio.lowlevel.current_trio_token())
            ready.set()
            await done.wait()
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    ready.wait(60)
    yield f"http://{told[0]}"
    trio_token[0].run_sync_soon(done.set)
    thread.join()


@pytest.mark.parametrize(("operation", "mode"), ASKED)
def test_what_is_asked_by_the_document_is_answered_by_it(
    url: str, operation: schemathesis.APIOperation[Any, Any, Any, Any], mode: GenerationMode
) -> None:
    @hypothesis.settings(
        max_examples=12,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case[Any]) -> None:
        response = case.call(base_url=url, session=session, timeout=60)
        accepts = [positive_data_acceptance] if operation.label in ACCEPTING else []
        checks = [*CHECKS, *accepts]
        if response.status_code == 413:  # a refusal, too, and the only one that the check does not know
            checks.remove(negative_data_rejection)
        case.validate_response(response, checks=checks)

    with requests.Session() as session:
        session.trust_env = False
        ask()
