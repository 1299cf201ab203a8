"""What is said about each kind of name."""

from __future__ import annotations

import pytest

from gossipreg.model import Address, Health
from tests.frontends.dns.desk import Desk, additional, code, data


def test_a_service_is_found_by_address_under_each_domain(desk: Desk) -> None:
    desk.offer("10.0.0.1")
    assert desk.records("orders.service.gossipreg") == ["10.0.0.1"]
    assert desk.records("orders.service.consul") == ["10.0.0.1"]


def test_each_family_has_its_own_addresses_each_once(desk: Desk) -> None:
    desk.offer("10.0.0.1", 80)
    desk.offer("10.0.0.1", 81)
    desk.offer("fd00::1")
    assert desk.records("orders.service.gossipreg") == ["10.0.0.1"]
    assert desk.records("orders.service.gossipreg", "AAAA") == ["fd00::1"]


def test_srv_gives_ports_and_weights_and_the_addresses_of_its_targets(desk: Desk) -> None:
    desk.offer("10.0.0.1", 8080, weight=3)
    desk.offer("fd00::1", 8081)
    response = desk.ask("orders.service.consul", "SRV")
    assert sorted(data(response)) == [
        "1 1 8081 8081.fd000000000000000000000000000001.addr.consul.",
        "1 3 8080 8080.0a000001.addr.consul.",
    ]
    assert sorted(additional(response)) == [
        "8080.0a000001.addr.consul. 10.0.0.1",
        "8081.fd000000000000000000000000000001.addr.consul. fd00::1",
    ]


def test_the_target_of_an_srv_record_can_be_asked_for(desk: Desk) -> None:
    assert desk.records("8080.0a000001.addr.consul") == ["10.0.0.1"]
    assert desk.records("0a000001.addr.consul") == ["10.0.0.1"]
    assert desk.records("fd000000000000000000000000000001.addr.consul", "AAAA") == ["fd00::1"]
    assert desk.records("0a000001.addr.consul", "AAAA") == []


@pytest.mark.parametrize("name", ["0a00001.addr", "x.0a000001.addr", "1.1.0a000001.addr", "zzzzzzzz.addr"])
def test_what_is_no_written_address_does_not_exist(desk: Desk, name: str) -> None:
    assert code(desk.ask(f"{name}.consul")) == "NXDOMAIN"


def test_weights_come_in_two_scales(desk: Desk) -> None:
    desk.offer(port=1, weight=1)
    desk.offer(port=2, weight=30)
    assert {record.split()[1] for record in desk.records("orders.service-x256.gossipreg", "SRV")} == {"256", "7680"}


def test_scaled_weights_keep_their_ratios_where_the_heaviest_would_not_fit(desk: Desk) -> None:
    desk.offer(port=1, weight=1000)
    desk.offer(port=2, weight=500)
    desk.offer(port=3, weight=1)
    weights = {each.split()[2]: int(each.split()[1]) for each in desk.records("orders.service-x256.consul", "SRV")}
    assert weights == {"1": 65_535, "2": 32_767, "3": 65}


def test_txt_tells_the_rest(desk: Desk) -> None:
    desk.offer(tags=["v2"], meta={"team": "a", "long": "x" * 300}, zone="north", role="primary", id="o1")
    assert desk.records("orders.service.gossipreg", "TXT") == [
        '"id=o1" "host=10.0.0.1" "port=80" "weight=1" "zone=north" "role=primary" "tag=v2" "meta.team=a"'
    ]


def test_a_txt_record_ends_before_it_is_too_long_for_anything(desk: Desk) -> None:
    desk.offer(meta={f"key{number:03}": "x" * 200 for number in range(300)})
    [text] = desk.records("orders.service.gossipreg", "TXT", tcp=True)
    assert 3000 < len(text) < 4500


def test_a_question_for_every_type_gets_the_least(desk: Desk) -> None:
    desk.offer("10.0.0.1")
    desk.join("web-1", "10.0.0.7")
    for name in (
        "orders.service.gossipreg",
        "gossipreg",
        "service.gossipreg",
        "web-1.node.gossipreg",
        "7.0.0.10.in-addr.arpa",
    ):
        assert desk.records(name, "ANY") == ['"RFC8482" ""'], name
    assert code(desk.ask("nothing.service.gossipreg", "ANY")) == "NXDOMAIN"


def test_only_those_that_can_serve_are_given(desk: Desk) -> None:
    desk.offer("10.0.0.1", health=Health.CRITICAL)
    desk.offer("10.0.0.2", weight=0)
    desk.offer("10.0.0.3")
    assert desk.records("orders.service.gossipreg") == ["10.0.0.3"]


def test_a_service_that_nobody_can_serve_exists_without_records(desk: Desk) -> None:
    desk.offer(health=Health.CRITICAL)
    response = desk.ask("orders.service.gossipreg")
    assert (code(response), response.answer) == ("NOERROR", [])
    assert response.authority[0].name.to_text() == "gossipreg."


@pytest.mark.parametrize(
    "name",
    [
        "v2.orders.service",
        "primary.orders.service",
        "_orders._v2.service",
        "orders.service.north.dc",
        "v2.orders.service.north.zone",
        "V2.Orders.Service",
    ],
)
def test_tags_roles_and_zones_choose(desk: Desk, name: str) -> None:
    desk.offer("10.0.0.1", tags=["V2"], role="Primary", zone="North")
    desk.offer("10.0.0.2", tags=["v1"], role="replica", zone="south")
    assert desk.records(f"{name}.gossipreg") == ["10.0.0.1"]


@pytest.mark.parametrize("name", ["_orders._tcp.service", "_orders._udp.service"])
def test_a_protocol_in_place_of_a_tag_chooses_nothing(desk: Desk, name: str) -> None:
    desk.offer("10.0.0.1")
    assert len(desk.records(f"{name}.gossipreg", "SRV")) == 1


@pytest.mark.parametrize(
    "name",
    [
        "x.service",
        "v9.orders.service",
        "orders.service.south.dc",
        "x.node",
        "x.node.north.dc",
        "x.strange",
        "_x._tcp.service",
        r"\255\254.service",
    ],
)
def test_a_name_that_nobody_has_does_not_exist(desk: Desk, name: str) -> None:
    desk.offer(tags=["v2"], zone="north")
    response = desk.ask(f"{name}.gossipreg")
    assert code(response) == "NXDOMAIN"
    assert response.authority[0].rdtype.name == "SOA"


@pytest.mark.parametrize(
    "name", ["service", "service-x256", "node", "addr", "dc", "zone", "north.dc", "service.north.dc"]
)
def test_a_name_that_others_are_below_exists_without_records(desk: Desk, name: str) -> None:
    response = desk.ask(f"{name}.gossipreg")
    assert (code(response), response.answer) == ("NOERROR", [])


def test_names_with_dots_are_found_whole_first(desk: Desk) -> None:
    desk.offer("10.0.0.1", service="v2.orders")
    desk.offer("10.0.0.2", service="orders", tags=["v2", "a.b"])
    assert desk.records("v2.orders.service.gossipreg") == ["10.0.0.1"]
    assert desk.records("a.b.orders.service.gossipreg") == ["10.0.0.2"]
    assert desk.records("_v2.orders._tcp.service.gossipreg") == ["10.0.0.1"]


def test_a_service_in_capitals_is_found_and_comes_and_goes(desk: Desk) -> None:
    assert code(desk.ask("orders.service.gossipreg")) == "NXDOMAIN"
    first = desk.offer("10.0.0.1", service="Orders")
    assert desk.records("orders.service.gossipreg") == ["10.0.0.1"]
    desk.offer("10.0.0.2", service="ORDERS")
    desk.offer("10.0.0.3", service="orders")
    assert sorted(desk.records("orders.service.gossipreg")) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    desk.withdraw(first)
    assert sorted(desk.records("orders.service.gossipreg")) == ["10.0.0.2", "10.0.0.3"]


def test_a_service_in_capitals_is_forgotten_with_its_last_instance(desk: Desk) -> None:
    instance = desk.offer("10.0.0.1", service="Orders")
    desk.offer("10.0.0.1", service="Orders", weight=2)
    desk.withdraw(instance)
    assert code(desk.ask("orders.service.gossipreg")) == "NXDOMAIN"
    assert list(desk.directory.spellings("orders")) == ["orders"]


def test_hosts_that_are_names_are_an_alias_and_a_target(desk: Desk) -> None:
    desk.offer("db.example.com", 5432)
    assert desk.records("orders.service.gossipreg") == ["db.example.com."]
    assert desk.ask("orders.service.gossipreg", "AAAA").answer[0].rdtype.name == "CNAME"
    response = desk.ask("orders.service.gossipreg", "SRV")
    assert (data(response), response.additional) == (["1 1 5432 db.example.com."], [])


def test_of_several_hosts_that_are_names_one_is_given_at_a_time_and_each_gets_its_turn(desk: Desk) -> None:
    desk.offer("a.example.com")
    desk.offer("b.example.com")
    given = [desk.records("orders.service.gossipreg") for _ in range(50)]
    assert {len(each) for each in given} == {1}
    assert {each[0] for each in given} == {"a.example.com.", "b.example.com."}


def test_a_name_beside_an_address_is_no_alias(desk: Desk) -> None:
    desk.offer("db.example.com")
    desk.offer("10.0.0.1")
    assert desk.records("orders.service.gossipreg") == ["10.0.0.1"]
    assert len(desk.records("orders.service.gossipreg", "SRV")) == 2


def test_a_host_that_dns_cannot_say_is_left_out(desk: Desk) -> None:
    desk.offer("a..b")
    desk.offer("x" * 64 + ".example")
    assert desk.records("orders.service.gossipreg") == []
    assert desk.records("orders.service.gossipreg", "SRV") == []


def test_a_scope_is_left_out_of_an_address(desk: Desk) -> None:
    desk.offer("fe80::1%eth0")
    assert desk.records("orders.service.gossipreg", "AAAA") == ["fe80::1"]


def test_members_are_found_for_as_long_as_they_are_there(desk: Desk) -> None:
    desk.join("Web-1.eu", "10.0.0.7")
    assert desk.records("web-1.EU.node.consul") == ["10.0.0.7"]
    assert desk.records("web-1.eu.node.consul", "SRV") == []
    desk.join("Web-1.eu", "10.0.0.8")
    assert desk.records("web-1.eu.node.consul") == ["10.0.0.8"]
    desk.fail("Web-1.eu")
    assert code(desk.ask("web-1.eu.node.consul")) == "NXDOMAIN"


def test_an_address_in_reverse_names_the_members_there(desk: Desk) -> None:
    desk.join("web-1", "10.0.0.7")
    desk.join("web-2", "10.0.0.7")
    desk.join("a..b", "10.0.0.7")
    desk.join("web-6", "fd00::1")
    assert desk.records("7.0.0.10.in-addr.arpa", "PTR") == ["web-1.node.gossipreg.", "web-2.node.gossipreg."]
    reverse = "1" + ".0" * 27 + ".0.0.d.f.ip6.arpa"
    assert desk.records(reverse, "PTR") == ["web-6.node.gossipreg."]


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("www.example.com", "A"),
        (".", "NS"),
        ("9.9.9.9.in-addr.arpa", "PTR"),
        ("x.in-addr.arpa", "PTR"),
        ("7.0.0.10.in-addr.arpa", "A"),
        ("gossipreg", "AXFR"),
    ],
)
def test_what_is_not_ours_is_refused(desk: Desk, name: str, type_: str) -> None:
    desk.join("web-1", "10.0.0.7")
    response = desk.ask(name, type_)
    assert (code(response), response.authority) == ("REFUSED", [])


def test_other_classes_are_refused(desk: Desk) -> None:
    assert code(desk.ask("version.bind", "TXT", rdclass="CH")) == "REFUSED"
    assert code(desk.ask("gossipreg", "SOA", rdclass="CH")) == "REFUSED"


def test_the_domain_itself_has_soa_and_ns(desk: Desk) -> None:
    assert desk.records("gossipreg", "SOA") == ["ns.gossipreg. hostmaster.gossipreg. 1 3600 600 86400 0"]
    response = desk.ask("gossipreg", "NS")
    assert (data(response), additional(response)) == (["ns.gossipreg."], ["ns.gossipreg. 127.0.0.1"])
    assert desk.records("ns.gossipreg") == ["127.0.0.1"]
    assert desk.records("gossipreg", "A") == []


def test_a_door_on_every_address_is_at_the_nodes_own() -> None:
    desk = Desk(own=Address("0.0.0.0", 8600))
    desk.node.address = Address("10.0.0.9", 7940)
    assert desk.records("ns.gossipreg") == ["10.0.0.9"]


@pytest.mark.parametrize(("ttl", "negative"), [(0, 0), (3, 3), (60, 5)])
def test_answers_live_as_long_as_set_and_denials_for_seconds(ttl: int, negative: int) -> None:
    desk = Desk(ttl=ttl)
    desk.offer()
    assert desk.ask("orders.service.gossipreg").answer[0].ttl == ttl
    denial = desk.ask("x.service.gossipreg").authority[0]
    assert (denial.ttl, denial[0].minimum) == (negative, negative)
