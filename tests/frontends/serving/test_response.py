from __future__ import annotations

import json

import pytest

from gossipreg import errors
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


def test_only_errors_that_no_request_causes_have_the_status_of_a_bug() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, GossipregError)]
    without = {each.__name__ for each in kinds if http_error(each.__new__(each)).status == 500}
    of_bases = {"GossipregError", "FieldError"}
    of_settings_and_files = {
        "ConfigError",
        "InvalidSetting",
        "InsecureError",
        "UnsafeFile",
        "BindError",
        "TemplateError",
    }
    of_callers_of_an_agent = {"NoInstance", "AgentUnreachable", "AgentRefused", "MemberOnly"}
    told_where_it_is_read = {"InvalidCertificate"}
    assert without == {
        *of_bases, *of_settings_and_files, *of_callers_of_an_agent, *told_where_it_is_read, "StorageError",
    }  # fmt: skip
