"""Errors that a user can mend: one line for people, a code and a field for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from gossipreg import errors
from gossipreg.check import read_checks
from gossipreg.cli import main
from gossipreg.errors import AgentRefused, FieldError, GossipregError, InvalidInstance, InvalidPolicy, InvalidSetting
from gossipreg.frontends.serving.response import CODES
from gossipreg.policy import Split
from tests.peers.stage import DOCS


def every(type_: type[GossipregError] = GossipregError) -> Iterator[type[GossipregError]]:
    """The error and all that derive from it."""
    yield type_
    for each in type_.__subclasses__():
        if each.__module__ == errors.__name__:
            yield from every(each)


def test_each_error_has_a_code_of_its_own_which_is_its_name() -> None:
    codes = [each.code for each in every()]
    assert len(codes) == len(set(codes))
    assert InvalidInstance.code == "invalid_instance"
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_a_field_error_names_field_value_and_what_would_be_allowed() -> None:
    error = InvalidInstance.unusable("port", 0, "a whole number from 1 to 65535")
    assert str(error) == "port: 0 is not a whole number from 1 to 65535"
    assert (error.field, error.value, error.expected) == ("port", 0, "a whole number from 1 to 65535")


def test_a_value_is_quoted_up_to_a_readable_length() -> None:
    assert len(str(InvalidInstance.unusable("id", "x" * 1000, "an id"))) < 120


@pytest.mark.parametrize(
    ("field", "place", "path"),
    [
        ("interval", "checks[0]", "checks[0].interval"),
        (None, "checks[0]", "checks[0]"),
        ("[1].port", "services", "services[1].port"),
    ],
)
def test_an_error_is_named_by_its_path_in_a_larger_document(field: str | None, place: str, path: str) -> None:
    error = InvalidInstance(field, "is wrong", value=1, expected="right").within(place)
    assert (str(error), error.field) == (f"{path}: is wrong", path)
    assert (error.value, error.expected, type(error)) == (1, "right", InvalidInstance)


def test_an_error_of_no_field_is_its_sentence() -> None:
    error = FieldError(None, "too much of it")
    assert (str(error), error.field) == ("too much of it", None)


def test_a_check_in_a_list_is_named_by_its_place_whatever_its_own_sentence_looks_like() -> None:
    with pytest.raises(InvalidInstance) as caught:
        read_checks([{"tcp": "127.0.0.1:80"}, {"tcp": "127.0.0.1:81", "name": "b", "interval": 0}])
    assert caught.value.field == "checks[1].interval"
    assert caught.value.value == 0
    with pytest.raises(InvalidInstance) as caught:
        read_checks(["tcp: here"])
    assert caught.value.field == "checks[0]"


def test_the_share_of_a_split_is_an_error_of_the_split() -> None:
    with pytest.raises(InvalidPolicy) as caught:
        Split("orders", {"v1": "most"}).check()  # type: ignore[dict-item]
    assert caught.value.field == "split"
    assert caught.value.expected == "a whole number from 0 to 65535"
    assert str(caught.value) == "split: the share of 'v1': 'most' is not a whole number from 0 to 65535"


def test_settings_at_odds_with_each_other_name_the_first() -> None:
    error = InvalidSetting("a: is more than b", ("a", "b"))
    assert (error.field, error.fields, error.code) == ("a", ("a", "b"), "invalid_setting")


def test_what_an_agent_refuses_has_its_code() -> None:
    assert AgentRefused("no", "not_found").code == "not_found"
    assert AgentRefused.code == "agent_refused"


def test_a_command_that_writes_json_fails_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["lookup", "orders", "--http", "127.0.0.1:1", "--json"])
    assert ended.value.code == 1
    said = capsys.readouterr()
    document = json.loads(said.err)
    assert said.out == ""
    assert document["code"] == "agent_unreachable"
    assert document["error"].startswith("no agent answers at 127.0.0.1:1")


def test_so_does_one_that_is_called_wrongly(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["lookup", "--json", "--nonsense"])
    assert ended.value.code == 2
    assert json.loads(capsys.readouterr().err)["code"] == "usage"


def test_the_page_lists_the_codes_that_a_node_answers_with() -> None:
    page = (DOCS / "http-api.md").read_text()
    section = page[page.index("## Errors") :]
    listed = set(re.findall(r"`([a-z_]+)`", section[: section.index("```http")]))
    answered = {each.code for each in every()} - {"error", "field_error"}
    of_nodes = {code for code in answered if code in listed}
    assert {"invalid_instance", "record_too_large", "unknown_instance", "node_closed"} <= of_nodes
    assert listed - {"error", "code", "field"} <= answered | set(CODES.values())
