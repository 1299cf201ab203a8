"""What is said about each kind of name."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipreg.model import Address, Health
from tests.frontends.dns.client import DnsClient, additional, code, data


def test_a_service_is_found_by_address_under_each_domain(dns_client: DnsClient) -> None:
    dns_client.offer("10.0.0.1")
    assert dns_client.records("orders.service.gossipreg") == ["10.0.0.1"]
    assert dns_client.records("orders.service.consul") == ["10.0.0.1"]


def test_each_family_has_its_own_addresses_each_once(dns_client: DnsClient) -> None:
    dns_client.offer("10.0.0.1", 80)
    dns_client.offer("10.0.0.1", 81)
    dns_client.offer("fd00::1")
    assert dns_client.records("orders.service.gossipreg") == ["10.0.0.1"]
    assert dns_client.records("orders.service.gossipreg", "AAAA") == ["fd00::1"]


def test_srv_gives_ports_and_weights_and_the_addresses_of_its_targets(dns_client: DnsClient) -> None:
    dns_client.offer("10.0.0.1", 8080, weight=3)
    dns_client.offer("fd00::1", 8081)
    response = dns_client.ask("orders.service.consul", "SRV")
    assert sorted(data(response)) == [
        "1 1 8081 8081.fd000000000000000000000000000001.addr.consul.",
        "1 3 8080 8080.0a000001.addr.consul.",
    ]
    assert sorted(additional(response)) == [
        "8080.0a000001.addr.consul. 10.0.0.1",
        "8081.fd000000000000000000000000000001.addr.consul. fd00::1",
    ]


def test_the_target_of_an_srv_record_can_be_asked_for(dns_client: DnsClient) -> None:
    assert dns_client.records("8080.0a000001.addr.consul") == ["10.0.0.1"]
    assert dns_client.records("0a000001.addr.consul") == ["10.0.0.1"]
    assert dns_client.records("fd000000000000000000000000000001.addr.consul", "AAAA") == ["fd00::1"]
    assert dns_client.records("0a000001.addr.consul", "AAAA") == []


@pytest.mark.parametrize("name", ["0a00001.addr", "x.0a000001.addr", "1.1.0a000001.addr", "zzzzzzzz.addr"])
def test_what_is_no_written_address_does_not_exist(dns_client: DnsClient, name: str) -> None:
    assert code(dns_client.ask(f"{name}.consul")) == "NXDOMAIN"


def test_weights_come_in_two_scales(dns_client: DnsClient) -> None:
    dns_client.offer(port=1, weight=1)
    dns_client.offer(port=2, weight=30)
    assert {record.split()[1] for record in dns_client.records("orders.service-x256.gossipreg", "SRV")} == {
        "256",
        "7680",
    }


def test_scaled_weights_keep_their_ratios_where_the_heaviest_would_not_fit(dns_client: DnsClient) -> None:
    dns_client.offer(port=1, weight=1000)
    dns_client.offer(port=2, weight=500)
    dns_client.offer(port=3, weight=1)
    weights = {
        each.split()[2]: int(each.split()[1]) for each in dns_client.records("orders.service-x256.consul", "SRV")
    }
    assert weights == {"1": 65_535, "2": 32_767, "3": 65}


def test_txt_tells_the_rest(dns_client: DnsClient) -> None:
    dns_client.offer(tags=["v2"], meta={"team": "a", "long": "x" * 300}, zone="north", role="primary", id="o1")
    assert dns_client.records("orders.service.gossipreg", "TXT") == [
        '"id=o1" "host=10.0.0.1" "port=80" "weight=1" "zone=north" "role=primary" "tag=v2" "meta.team=a"'
    ]


def test_a_txt_record_ends_before_it_is_too_long_for_anything(dns_client: DnsClient) -> None:
    dns_client.offer(meta={f"key{number:03}": "x" * 200 for number in range(300)})
    [text] = dns_client.records("orders.service.gossipreg", "TXT", tcp=True)
    assert 3000 < len(text) < 4500


def test_a_question_for_every_type_gets_the_least(dns_client: DnsClient) -> None:
    dns_client.offer("10.0.0.1")
    dns_client.join("web-1", "10.0.0.7")
    for name in (
        "orders.service.gossipreg",
        "gossipreg",
        "service.gossipreg",
        "web-1.node.gossipreg",
        "7.0.0.10.in-addr.arpa",
    ):
        assert dns_client.records(name, "ANY") == ['"RFC8482" ""'], name
    assert code(dns_client.ask("nothing.service.gossipreg", "ANY")) == "NXDOMAIN"


def test_only_those_that_can_serve_are_given(dns_client: DnsClient) -> None:
    dns_client.offer("10.0.0.1", health=Health.CRITICAL)
    dns_client.offer("10.0.0.2", weight=0)
    dns_client.offer("10.0.0.3")
    assert dns_client.records("orders.service.gossipreg") == ["10.0.0.3"]


def test_a_service_that_no_instance_can_serve_exists_without_records(dns_client: DnsClient) -> None:
    dns_client.offer(health=Health.CRITICAL)
    response = dns_client.ask("orders.service.gossipreg")
    assert (code(response), response.answer) == ("NOERROR", [])
    assert response.authority[0].name.to_text() == "gossipreg."


@pytest.mark.parametrize(
    "name",
    [
        "v2.orders.service",
        "primary.orders.service",
        "_orders._v2.service",
        "orders.service.north.zone",
        "orders.service.north.zone.default.dc",
        "v2.orders.service.north.zone",
        "v2.orders.service.default",
        "v2.orders.service.default.dc",
        "_orders._v2.service.default.dc",
        "V2.Orders.Service",
    ],
)
def test_tags_roles_and_zones_choose(dns_client: DnsClient, name: str) -> None:
    dns_client.offer("10.0.0.1", tags=["V2"], role="Primary", zone="North")
    dns_client.offer("10.0.0.2", tags=["v1"], role="replica", zone="south")
    assert dns_client.records(f"{name}.gossipreg") == ["10.0.0.1"]


@pytest.mark.parametrize("name", ["_orders._tcp.service", "_orders._udp.service"])
def test_a_protocol_in_place_of_a_tag_chooses_nothing(dns_client: DnsClient, name: str) -> None:
    dns_client.offer("10.0.0.1")
    assert len(dns_client.records(f"{name}.gossipreg", "SRV")) == 1


@pytest.mark.parametrize(
    "name",
    [
        "x.service",
        "v9.orders.service",
        "orders.service.south.zone",
        "orders.service.other.dc",
        "orders.service.other",
        "orders.service.north.dc",
        "service.other.dc",
        "other.dc",
        "x.node",
        "x.node.default",
        "node.north.zone",
        "x.node.north.zone",
        "x.strange.default.dc",
        "x.query",
        "_orders._v2.query.other.dc",
        "x.strange",
        "_x._tcp.service",
        r"\255\254.service",
    ],
)
def test_an_unknown_name_does_not_exist(dns_client: DnsClient, name: str) -> None:
    dns_client.offer(tags=["v2"], zone="north")
    response = dns_client.ask(f"{name}.gossipreg")
    assert code(response) == "NXDOMAIN"
    assert response.authority[0].rdtype.name == "SOA"


@pytest.mark.parametrize(
    "name",
    [
        *("service", "service-x256", "node", "addr", "query", "dc", "zone", "north.zone", "service.north.zone"),
        *("default", "default.dc", "service.default", "node.default.dc", "_tcp.service", "_udp.query.default"),
    ],
)
def test_a_name_that_others_are_below_exists_without_records(dns_client: DnsClient, name: str) -> None:
    response = dns_client.ask(f"{name}.gossipreg")
    assert (code(response), response.answer) == ("NOERROR", [])


def test_names_may_say_the_datacenter(dns_client: DnsClient) -> None:
    dns_client.offer("10.0.0.1")
    dns_client.join("web-1", "10.0.0.7")
    for end in ("", ".default", ".default.dc", ".DEFAULT.DC"):
        assert dns_client.records(f"orders.service{end}.consul") == ["10.0.0.1"]
        assert len(dns_client.records(f"_orders._tcp.service{end}.consul", "SRV")) == 1
        assert dns_client.records(f"web-1.node{end}.consul") == ["10.0.0.7"]
        assert dns_client.records(f"8080.0a000001.addr{end}.consul") == ["10.0.0.1"]
        assert dns_client.records(f"orders.query{end}.consul") == ["10.0.0.1"]


def test_a_datacenter_may_have_dots_and_capitals_or_the_name_of_a_kind() -> None:
    dns_client = DnsClient(datacenter="EU.Prod")
    dns_client.offer("10.0.0.1")
    assert dns_client.records("orders.service.eu.prod.consul") == ["10.0.0.1"]
    assert dns_client.records("orders.service.eu.prod.dc.consul") == ["10.0.0.1"]
    for name in ("prod", "prod.dc", "eu.prod", "service.eu.prod"):
        assert code(dns_client.ask(f"{name}.consul")) == "NOERROR", name
    for name in ("us.prod", "eu", "orders.service.prod", "orders.service.us.prod.dc"):
        assert code(dns_client.ask(f"{name}.consul")) == "NXDOMAIN", name
    dns_client = DnsClient(datacenter="node")
    dns_client.offer("10.0.0.1")
    assert dns_client.records("orders.service.node.dc.consul") == ["10.0.0.1"]


def test_a_query_is_named_after_a_service_and_chooses_nothing_by_what_is_before_it(dns_client: DnsClient) -> None:
    dns_client.offer("10.0.0.1", tags=["v2"])
    dns_client.offer("10.0.0.2", tags=["v1"])
    assert len(dns_client.records("orders.query.consul")) == 2
    assert len(dns_client.records("_orders._tcp.query.consul", "SRV")) == 2
    assert code(dns_client.ask("v2.orders.query.consul")) == "NXDOMAIN"


_words = st.sampled_from(["a", "B", "a.b", "b.A", "a.b.c", "c"])


@given(_words, _words, _words, _words, st.sampled_from(["", ".gossipreg", ".b.a", ".b.a.dc"]))
@settings(max_examples=10)
def test_every_name_above_one_that_exists_does_so_too(service: str, other: str, tag: str, zone: str, end: str) -> None:
    dns_client = DnsClient(datacenter="b.a")
    dns_client.offer("10.0.0.1", service=service, tags=[tag], role="x.primary", zone=zone)
    dns_client.offer("10.0.0.2", service=other, tags=[other], zone="c")
    dns_client.join(other, "10.0.1.1")
    names = ["80.0a000001.addr", f"{other}.node"]
    for kind in ("service", "service-x256", f"service.{zone}.zone", "query"):
        names += [f"{name}.{kind}" for name in (service, f"_{service}._tcp", f"_{service}._{tag}")]
        names += [f"{tag}.{service}.{kind}", f"x.primary.{service}.{kind}", f"{other}.{other}.{kind}"]
    existing = 0
    for name in names:
        above = f"{name}{end}.consul"
        if dns_client.records(above, "ANY"):  # a name with dots may be read as another one, which does not exist
            existing += 1
            while above := above.partition(".")[2]:
                assert code(dns_client.ask(above)) == "NOERROR", (name, end, above)
    assert existing > 2 or end == ".gossipreg"


def test_names_above_others_come_and_go_with_them(dns_client: DnsClient) -> None:
    instance = dns_client.offer("10.0.0.1", service="v2.orders", tags=["a.b"])
    dns_client.join("web-1.eu", "10.0.0.7")
    names = ["orders.service.consul", "b.v2.orders.service.consul", "eu.node.consul"]
    for _ in range(2):
        assert [code(dns_client.ask(name)) for name in names] == ["NOERROR"] * 3
        assert [dns_client.ask(name).answer for name in names] == [[]] * 3
    dns_client.withdraw(instance)
    dns_client.fail("web-1.eu")
    assert [code(dns_client.ask(name)) for name in names] == ["NXDOMAIN"] * 3


@pytest.mark.parametrize("name", ["0.0.10.in-addr.arpa", "0.10.in-addr.arpa", "10.in-addr.arpa", "0.d.f.ip6.arpa"])
def test_names_above_those_of_addresses_exist(dns_client: DnsClient, name: str) -> None:
    dns_client.join("web-1", "10.0.0.7")
    dns_client.join("web-2", "fd00::1%eth0")
    response = dns_client.ask(name)
    assert (code(response), response.answer) == ("NOERROR", [])


def test_a_name_above_another_domain_exists() -> None:
    dns_client = DnsClient(domains=("gossipreg", "a.b.gossipreg"))
    assert code(dns_client.ask("b.gossipreg")) == "NOERROR"
    assert code(dns_client.ask("c.gossipreg")) == "NXDOMAIN"


def test_names_without_end_are_not_kept(dns_client: DnsClient) -> None:
    for number in range(5):
        for name in (
            f"_x{number}.service",
            f"x{number}.zone",
            f"service.x{number}.zone",
            f"_tcp.service.x{number}.zone",
        ):
            assert code(dns_client.ask(f"{name}.consul")) == "NOERROR"
    assert not dns_client.responder._kept


def test_an_instance_without_a_port_is_a_host_and_no_server(dns_client: DnsClient) -> None:
    dns_client.offer("10.0.0.1", 0)
    assert dns_client.records("orders.service.consul") == ["10.0.0.1"]
    assert dns_client.records("orders.service.consul", "SRV") == []
    assert "port" not in dns_client.records("orders.service.consul", "TXT")[0]
    dns_client.offer("10.0.0.2", 80)
    assert len(dns_client.records("orders.service.consul", "SRV")) == 1


def test_names_with_dots_are_found_whole_first(dns_client: DnsClient) -> None:
    dns_client.offer("10.0.0.1", service="v2.orders")
    dns_client.offer("10.0.0.2", service="orders", tags=["v2", "a.b"])
    assert dns_client.records("v2.orders.service.gossipreg") == ["10.0.0.1"]
    assert dns_client.records("a.b.orders.service.gossipreg") == ["10.0.0.2"]
    assert dns_client.records("_v2.orders._tcp.service.gossipreg") == ["10.0.0.1"]


def test_a_service_in_capitals_is_found_and_comes_and_goes(dns_client: DnsClient) -> None:
    assert code(dns_client.ask("orders.service.gossipreg")) == "NXDOMAIN"
    first = dns_client.offer("10.0.0.1", service="Orders")
    assert dns_client.records("orders.service.gossipreg") == ["10.0.0.1"]
    dns_client.offer("10.0.0.2", service="ORDERS")
    dns_client.offer("10.0.0.3", service="orders")
    assert sorted(dns_client.records("orders.service.gossipreg")) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    dns_client.withdraw(first)
    assert sorted(dns_client.records("orders.service.gossipreg")) == ["10.0.0.2", "10.0.0.3"]


def test_a_service_in_capitals_is_forgotten_with_its_last_instance(dns_client: DnsClient) -> None:
    instance = dns_client.offer("10.0.0.1", service="Orders")
    dns_client.offer("10.0.0.1", service="Orders", weight=2)
    dns_client.withdraw(instance)
    assert code(dns_client.ask("orders.service.gossipreg")) == "NXDOMAIN"
    assert list(dns_client.directory.spellings("orders")) == ["orders"]


def test_hosts_that_are_names_are_an_alias_and_a_target(dns_client: DnsClient) -> None:
    dns_client.offer("db.example.com", 5432)
    assert dns_client.records("orders.service.gossipreg") == ["db.example.com."]
    assert dns_client.ask("orders.service.gossipreg", "AAAA").answer[0].rdtype.name == "CNAME"
    response = dns_client.ask("orders.service.gossipreg", "SRV")
    assert (data(response), response.additional) == (["1 1 5432 db.example.com."], [])


def test_of_several_hosts_that_are_names_one_is_given_at_a_time_and_each_gets_its_turn(dns_client: DnsClient) -> None:
    dns_client.offer("a.example.com")
    dns_client.offer("b.example.com")
    given = [dns_client.records("orders.service.gossipreg") for _ in range(50)]
    assert {len(each) for each in given} == {1}
    assert {each[0] for each in given} == {"a.example.com.", "b.example.com."}


def test_a_name_beside_an_address_is_no_alias(dns_client: DnsClient) -> None:
    dns_client.offer("db.example.com")
    dns_client.offer("10.0.0.1")
    assert dns_client.records("orders.service.gossipreg") == ["10.0.0.1"]
    assert len(dns_client.records("orders.service.gossipreg", "SRV")) == 2


def test_a_host_that_dns_cannot_say_is_left_out(dns_client: DnsClient) -> None:
    dns_client.offer("a..b")
    dns_client.offer("x" * 64 + ".example")
    assert dns_client.records("orders.service.gossipreg") == []
    assert dns_client.records("orders.service.gossipreg", "SRV") == []


def test_a_scope_is_left_out_of_an_address(dns_client: DnsClient) -> None:
    dns_client.offer("fe80::1%eth0")
    assert dns_client.records("orders.service.gossipreg", "AAAA") == ["fe80::1"]


def test_members_are_found_for_as_long_as_they_are_there(dns_client: DnsClient) -> None:
    dns_client.join("Web-1.eu", "10.0.0.7")
    assert dns_client.records("web-1.EU.node.consul") == ["10.0.0.7"]
    assert dns_client.records("web-1.eu.node.consul", "SRV") == []
    dns_client.join("Web-1.eu", "10.0.0.8")
    assert dns_client.records("web-1.eu.node.consul") == ["10.0.0.8"]
    dns_client.fail("Web-1.eu")
    assert code(dns_client.ask("web-1.eu.node.consul")) == "NXDOMAIN"


def test_a_member_at_an_address_with_an_interface_is_found_without_that(dns_client: DnsClient) -> None:
    dns_client.join("web-1", "fe80::1%eth0")
    assert dns_client.records("web-1.node.consul", "AAAA") == ["fe80::1"]
    reverse = "1" + ".0" * 28 + ".8.e.f.ip6.arpa"
    assert dns_client.records(reverse, "PTR") == ["web-1.node.gossipreg."]
    assert code(dns_client.ask(reverse, "A")) == "NOERROR"


def test_nodes_that_no_agent_runs_on_are_found_and_their_records_are_no_service(dns_client: DnsClient) -> None:
    dns_client.join("db", "10.0.0.7")
    dns_client.offer("10.0.0.7", 0, service="gossipreg.node", id="gossipreg.node")  # what a member says of itself
    assert code(dns_client.ask("printer.node.consul")) == "NXDOMAIN"
    printer = dns_client.offer("10.0.0.8", 0, service="gossipreg.node", id="gossipreg.node/Printer.eu")
    dns_client.offer("mail.example.com", 0, service="gossipreg.node", id="gossipreg.node/mail", health=Health.CRITICAL)
    dns_client.offer("10.0.0.9", 0, service="gossipreg.node", id="gossipreg.node/db")
    assert dns_client.records("printer.eu.node.consul") == ["10.0.0.8"]
    assert dns_client.records("printer.eu.node.consul", "AAAA") == []
    assert code(dns_client.ask("eu.node.consul")) == "NOERROR"
    assert dns_client.records("mail.node.default.consul") == ["mail.example.com."]
    assert dns_client.records("db.node.consul") == ["10.0.0.7"], "a member has its name"
    for name in ("gossipreg.node.service", "node.service"):
        assert code(dns_client.ask(f"{name}.consul")) == "NXDOMAIN"
    dns_client.withdraw(printer)
    assert code(dns_client.ask("printer.eu.node.consul")) == "NXDOMAIN"


def test_an_address_in_reverse_names_the_members_there(dns_client: DnsClient) -> None:
    dns_client.join("web-1", "10.0.0.7")
    dns_client.join("web-2", "10.0.0.7")
    dns_client.join("a..b", "10.0.0.7")
    dns_client.join("web-6", "fd00::1")
    assert dns_client.records("7.0.0.10.in-addr.arpa", "PTR") == ["web-1.node.gossipreg.", "web-2.node.gossipreg."]
    reverse = "1" + ".0" * 27 + ".0.0.d.f.ip6.arpa"
    assert dns_client.records(reverse, "PTR") == ["web-6.node.gossipreg."]


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("www.example.com", "A"),
        (".", "NS"),
        ("9.9.9.9.in-addr.arpa", "PTR"),
        ("x.in-addr.arpa", "PTR"),
        ("9.in-addr.arpa", "A"),
        ("0.11.10.in-addr.arpa", "A"),
        ("300.in-addr.arpa", "A"),
        ("in-addr.arpa", "A"),
        ("f.f.ip6.arpa", "A"),
        ("gossipreg", "AXFR"),
    ],
)
def test_what_is_not_ours_is_refused(dns_client: DnsClient, name: str, type_: str) -> None:
    dns_client.join("web-1", "10.0.0.7")
    response = dns_client.ask(name, type_)
    assert (code(response), response.authority) == ("REFUSED", [])


def test_other_classes_are_refused(dns_client: DnsClient) -> None:
    assert code(dns_client.ask("version.bind", "TXT", rdclass="CH")) == "REFUSED"
    assert code(dns_client.ask("gossipreg", "SOA", rdclass="CH")) == "REFUSED"


def test_the_domain_itself_has_soa_and_ns(dns_client: DnsClient) -> None:
    assert dns_client.records("gossipreg", "SOA") == ["ns.gossipreg. hostmaster.gossipreg. 1 3600 600 86400 0"]
    response = dns_client.ask("gossipreg", "NS")
    assert (data(response), additional(response)) == (["ns.gossipreg."], ["ns.gossipreg. 127.0.0.1"])
    assert dns_client.records("ns.gossipreg") == ["127.0.0.1"]
    assert dns_client.records("gossipreg", "A") == []


def test_a_listener_on_every_address_is_at_the_nodes_own() -> None:
    dns_client = DnsClient(own=Address("0.0.0.0", 8600))
    dns_client.node.address = Address("10.0.0.9", 7940)
    assert dns_client.records("ns.gossipreg") == ["10.0.0.9"]


@pytest.mark.parametrize(("ttl", "negative"), [(0, 0), (3, 3), (60, 5)])
def test_answers_live_as_long_as_set_and_denials_for_seconds(ttl: int, negative: int) -> None:
    dns_client = DnsClient(ttl=ttl)
    dns_client.offer()
    assert dns_client.ask("orders.service.gossipreg").answer[0].ttl == ttl
    denial = dns_client.ask("x.service.gossipreg").authority[0]
    assert (denial.ttl, denial[0].minimum) == (negative, negative)
