from __future__ import annotations

import json

import pytest

from gossipreg.errors import GossipregError, InvalidInstance, NodeClosed, StorageError, UnknownInstance
from gossipreg.frontends.serving.response import HttpError, http_error


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (HttpError(403, "no"), 403, "no"),
        (InvalidInstance("port", "none"), 400, "port: none"),
        (UnknownInstance("which?"), 404, "which?"),
        (NodeClosed("gone"), 503, "gone"),
        (StorageError("full"), 500, "full"),
    ],
)
def test_every_error_has_its_status_and_its_sentence(
    error: HttpError | GossipregError, status: int, sentence: str
) -> None:
    made = http_error(error)
    assert (made.status, str(made), made.answer.status) == (status, sentence, status)
    assert json.loads(made.answer.body)["error"] == sentence


def test_an_error_of_the_node_keeps_its_code_and_its_field() -> None:
    error = InvalidInstance("port", "none")
    assert (http_error(error).code, http_error(error).field) == (error.code, error.field)
