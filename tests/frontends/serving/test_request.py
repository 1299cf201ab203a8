from __future__ import annotations

import pytest

from gossipreg.frontends.serving.request import QueryParameters, split_target
from gossipreg.frontends.serving.response import HttpError


def test_a_query_may_repeat_a_name_and_leave_out_a_value() -> None:
    path, query = split_target("/v1/x?tag=a&stale&tag=b%3D1&passing=False")
    assert path == "/v1/x"
    assert query.all("tag") == ("a", "b=1")
    assert query.first("tag") == "a"
    assert (query.flag("stale"), query.flag("passing"), query.flag("pretty")) == (True, False, False)
    assert "stale" in query
    assert split_target("/v1/x") == ("/v1/x", QueryParameters())


def test_a_query_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(HttpError, match="not UTF-8"):
        split_target("/v1/x?tag=%ff")


def test_a_query_may_be_held_to_one_value_of_each_name() -> None:
    split_target("/x?a=1&b=1")[1].require_unique()
    with pytest.raises(HttpError, match="gives 'a' twice"):
        split_target("/x?a=1&b=1&a=1")[1].require_unique()
