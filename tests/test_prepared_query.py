"""Prepared queries: what one may say, and which one a name means."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gossipreg import limits
from gossipreg.errors import InvalidPolicy
from gossipreg.model import Instance
from gossipreg.prepared_query import PreparedQuery, find

ID = "8f246b77-f3e1-ff88-5b48-8ec93abf3e05"
WEB = PreparedQuery(ID, "web", "near-web", tags=("v2", "!old"), regions=("eu",))
MUCH_META = {str(number): "" for number in range(limits.PREPARED_QUERY_META_ENTRIES_MAX + 1)}


def template(name: str, service: str = "${name.suffix}", **more: Any) -> PreparedQuery:
    return PreparedQuery(ID[:-1] + "6", service, name, template=True, **more)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("id", "web", "id: "),
        ("id", 5, "id: "),
        ("service", "", "service: "),
        ("service", "${name.full}", "service: "),
        ("name", "", "name: "),
        ("name", "x" * (limits.PREPARED_QUERY_NAME_CHARS_MAX + 1), "name: "),
        ("name", "half \ud800", "name: "),
        ("tags", ("v1", 5), "tags: "),
        ("tags", "v1", "tags: "),
        ("node_meta", {"a": 1}, "node_meta: "),
        ("service_meta", "a", "service_meta: "),
        ("node_meta", MUCH_META, "node_meta: "),
        (
            "service_meta",
            MUCH_META,
            "service_meta: ",
        ),
        ("only_passing", 1, "only_passing: "),
        ("nearest", -1, "nearest: "),
        ("nearest", 17, "nearest: "),
        ("nearest", True, "nearest: "),
        ("ttl", "soon", "ttl: "),
    ],
)
def test_what_cannot_be_carried_out_is_refused_by_its_name(field: str, value: Any, named: str) -> None:
    WEB.check()
    with pytest.raises(InvalidPolicy) as refusal:
        attrs.evolve(WEB, **{field: value}).check()
    assert str(refusal.value).startswith(named)


def test_a_template_takes_only_parts_of_the_name_that_there_are() -> None:
    template("geo-").check()
    template("", "db").check()
    for wrong in (template("geo-", "${match(1)}"), template("geo-", tags=("${name",)), template("geo-", "")):
        with pytest.raises(InvalidPolicy):
            wrong.check()


def test_it_states_no_more_than_what_is_not_the_default() -> None:
    assert PreparedQuery(ID, "web", "w").stated() == {"id": ID, "name": "w"}
    assert WEB.stated() == {"id": ID, "name": "near-web", "tags": ["v2", "!old"], "regions": ["eu"]}
    assert not WEB.is_about(Instance(id="web-1", service="web", host="10.0.0.1", port=1))


def test_an_id_and_a_name_in_any_case_mean_a_query_and_a_name_before_a_template() -> None:
    geo = template("near-")
    for name in (ID, ID.upper(), "near-web", "Near-WEB"):
        assert find([geo, WEB], name) == WEB
    assert find([WEB], "near-db") is None
    found = find([geo, WEB], "near-db")
    assert found is not None
    assert found.service == "db"


def test_the_template_with_the_longest_name_is_filled_in_with_the_name() -> None:
    every = template("", "${name.full}")
    geo = template(
        "geo-", near="${name.prefix}", tags=("${name.suffix}", "!${name.suffix}x"), regions=("r${name.suffix}",)
    )
    found = find([every, geo], "geo-db")
    assert found is not None
    assert (found.service, found.near, found.tags, found.regions) == ("db", "geo-", ("db", "!dbx"), ("rdb",))
    other = find([geo, every], "db")
    assert other is not None
    assert other.service == "db"
    own = find([every, geo], geo.id)
    assert own is not None
    assert not own.template


def test_tags_that_end_up_empty_are_left_out_if_that_is_wished() -> None:
    found = find([template("db", "db", tags=("${name.suffix}", "!${name.suffix}"), remove_empty_tags=True)], "db")
    assert found is not None
    assert found.tags == ()
    kept = find([template("db", "db", tags=("${name.suffix}",))], "db")
    assert kept is not None
    assert kept.tags == ("",)


def test_of_two_with_one_name_the_one_with_the_lower_id_is_meant_in_any_order() -> None:
    """Two sides of a split may each have defined one."""
    other = attrs.evolve(WEB, id=ID[:-1] + "4", service="other")
    for order in ([WEB, other], [other, WEB]):
        assert find(order, "near-web") == other


def test_what_a_clients_name_holds_is_not_filled_in_again() -> None:
    """It would grow with the square of the name."""
    every = template("", "${name.full}", tags=("${name.suffix}",))
    found = find([every], "${name.suffix}-${name.full}")
    assert found is not None
    assert (found.service, found.tags) == ("${name.suffix}-${name.full}", ("${name.suffix}-${name.full}",))


def test_a_name_longer_than_any_querys_means_none() -> None:
    every, most = template("", "${name.full}"), limits.PREPARED_QUERY_NAME_CHARS_MAX
    assert find([every], "x" * most) is not None
    assert find([every], "x" * (most + 1)) is None
