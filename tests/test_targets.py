from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gossipreg import Check, Config, ConfigError
from gossipreg.targets import (
    _BANNED,
    DEFAULT_TARGETS,
    CheckRules,
    CheckTargets,
    forms_of,
    is_local,
    is_loopback,
)

DEFAULT = CheckTargets.parse(DEFAULT_TARGETS)


def allows(targets: CheckTargets, address: str, host: str = "a.name", own: tuple[str, ...] = ()) -> bool:
    return targets.allows(host, ip_address(address), [ip_address(each) for each in own])


# By default


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255"),
        *("192.168.1.1", "100.64.0.1", "100.100.100.201", "fc00::1", "fd12:3456::1", "::ffff:10.0.0.1"),
    ],
)
def test_loopback_and_private_networks_may_be_contacted(address: str) -> None:
    assert allows(DEFAULT, address)


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "fec0::1", "::ffff:8.8.8.8"),
        *("2002:0a00:0001::1", "64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1"),  # a gateway's, whatever is in it
    ],
)
def test_nothing_else_may(address: str) -> None:
    assert not allows(DEFAULT, address)
    assert allows(CheckTargets.parse(["any"]), address)


BANNED = [
    *("169.254.169.254", "169.254.0.1", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "255.255.255.255", "240.0.0.1"),
    *("fe80::1", "fe80::a9fe:a9fe", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe"),
    *("fd00:42::42", "ff02::1", "::"),
    *("::ffff:169.254.169.254", "::ffff:0.0.0.0", "::a9fe:a9fe", "2002:a9fe:a9fe::1", "64:ff9b::169.254.169.254"),
    *("64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1::a9:fea9:fe00:0", "64:ff9b:1::169.254.169.254"),
    *("2001:0:a9fe:a9fe::1", "2001:0:808:808::5601:5601", "2001:db8::5efe:169.254.169.254", "fc00::200:5efe:a9fe:a9fe"),
]


@pytest.mark.parametrize("address", BANNED)
@pytest.mark.parametrize("entries", [DEFAULT_TARGETS, ("any", "self"), ("0.0.0.0/0", "::/0", "a.name")])
def test_metadata_addresses_are_banned_in_every_form_whatever_is_allowed(address: str, entries: tuple[str]) -> None:
    assert not allows(CheckTargets.parse(entries), address, own=(address,))


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("169.254.7.7", "169.254.7.7"),
        ("169.254.0.0/16", "::ffff:169.254.7.7"),
        ("::ffff:169.254.7.0/120", "169.254.7.7"),
        ("fe80::/10", "fe80::1%eth0"),
        ("fe80::/64", "fe80::1"),
    ],
)
def test_an_entry_that_lies_within_a_ban_lifts_it(entry: str, address: str) -> None:
    assert allows(CheckTargets.parse([entry]), address)
    assert not allows(CheckTargets.parse([entry]), "169.254.169.254") or entry == "169.254.0.0/16"


@given(
    st.ip_addresses(network=None)
    | st.sampled_from([each[1] if each.num_addresses > 1 else each[0] for each in _BANNED])
)
@example(IPv6Address("2002:a9fe:a9fe::"))
def test_nothing_banned_is_allowed_in_disguise(address: IPv4Address | IPv6Address) -> None:
    everything = CheckTargets.parse(["any", "self", "*.example"])
    disguises = [address]
    if isinstance(address, IPv4Address):
        number = int(address)
        disguises += [IPv6Address(high | number) for high in (0xFFFF << 32, 0x64FF9B << 96, 0x5EFE << 32)]
        disguises.append(IPv6Address((0x2002 << 112) | (number << 80)))
    is_banned = any(form in network for form in forms_of(address) for network in _BANNED)
    for each in disguises:
        allowed = everything.allows("a.example", each, [each])
        assert not (allowed and is_banned)


# What a user may say


def test_a_denial_counts_for_more_than_what_allows() -> None:
    for entries in (["private", "!10.9.0.0/16", "!db.example"], ["!db.example", "!10.9.0.0/16", "private"]):
        targets = CheckTargets.parse(entries)
        assert allows(targets, "10.0.0.1")
        assert not allows(targets, "10.9.0.1")
        assert not allows(targets, "::ffff:10.9.0.1")
        assert not allows(targets, "10.0.0.1", host="DB.example.")
    assert not allows(CheckTargets.parse(["any", "!private"]), "10.0.0.1")
    assert not allows(CheckTargets.parse(["self", "!10.0.0.1"]), "10.0.0.1", own=("10.0.0.1",))


def test_a_name_that_is_allowed_may_lead_anywhere_but_to_what_is_banned() -> None:
    targets = CheckTargets.parse(["db.example", "*.svc.example"])
    assert allows(targets, "8.8.8.8", host="Db.Example.")
    assert allows(targets, "8.8.8.8", host="a.b.svc.example")
    assert not allows(targets, "8.8.8.8", host="svc.example")
    assert not allows(targets, "8.8.8.8", host="xdb.example")
    assert not allows(targets, "8.8.8.8", host="8.8.8.8")
    assert not allows(targets, "169.254.169.254", host="db.example")


def test_an_instances_own_host_may_be_contacted_unless_self_is_left_out() -> None:
    assert allows(DEFAULT, "8.8.8.8", own=("8.8.8.8",))
    assert allows(DEFAULT, "::ffff:8.8.8.8", own=("8.8.8.8",))
    assert not allows(DEFAULT, "8.8.4.4", own=("8.8.8.8",))
    assert not allows(CheckTargets.parse(["private"]), "8.8.8.8", own=("8.8.8.8",))


def test_a_word_is_that_word_in_any_case_and_never_a_name() -> None:
    targets = CheckTargets.parse(["Private", "SELF", "!Loopback"])
    assert targets == CheckTargets.parse(["private", "self", "!loopback"])
    assert not targets.names


@pytest.mark.parametrize("entries", [(), ("off",), ("OFF",)])
def test_nothing_may_be_contacted_where_checks_are_off(entries: tuple[str, ...]) -> None:
    assert not allows(CheckTargets.parse(entries), "127.0.0.1", own=("127.0.0.1",))


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("10.0.0.5/8", "'10.0.0.5/8' has bits beyond its mask: write 10.0.0.0/8"),
        *(
            (entry, f"{entry!r} is neither a word")
            for entry in ("", "!", "!self", "!!a", "10.0.0.0/33", "a b", "*", "a.*")
        ),
        *((entry, f"{entry!r} is neither a word") for entry in ("fe80::1%eth0", "http://a", "a:80", "1.2.3", "!off")),
    ],
)
def test_what_is_no_target_is_refused_in_every_way_in(entry: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^check_targets: {re.escape(sentence)}"):
        Config(check_targets=(entry,))


def test_off_is_for_all_or_for_nothing() -> None:
    with pytest.raises(ConfigError, match="check_targets: 'off' is neither a word"):
        Config(check_targets=("off", "private"))


@given(st.lists(st.text(max_size=20) | st.from_regex(r"!?[0-9a-f.:/*%]{1,20}", fullmatch=True), max_size=3))
def test_any_text_is_read_or_refused(entries: list[str]) -> None:
    try:
        targets = CheckTargets.parse(entries)
    except ConfigError:
        return
    assert not allows(targets, "255.255.255.255") or "255.255.255.255" in " ".join(entries)


# Before anything is resolved


def test_a_literal_is_judged_at_once_and_a_name_when_it_is_called() -> None:
    assert DEFAULT.may_allow("anything.example", ())
    assert DEFAULT.may_allow("10.0.0.1", ())
    assert not DEFAULT.may_allow("8.8.8.8", ("10.0.0.1",))
    assert DEFAULT.may_allow("8.8.8.8", ("10.0.0.1", "8.8.8.8"))
    assert DEFAULT.may_allow("8.8.8.8", ("web.example",))  # which may have that address
    assert not DEFAULT.may_allow("169.254.169.254", ("web.example",))
    assert not DEFAULT.may_allow("fe80::1%eth0", ("web.example",))
    assert not CheckTargets.parse(["any", "!*.example"]).may_allow("a.example", ())


def test_what_is_local_is_told_by_its_look() -> None:
    for host in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "localhost", "LocalHost.", "a.localhost"):
        assert is_loopback(host)
    for host in ("10.0.0.1", "localhost.example", "::", "xlocalhost"):
        assert not is_loopback(host)
    assert is_local("Web.Example.", ("web.example",))
    assert is_local("fd00:0::1", ("fd00::1",))
    assert not is_local("db.example", ("web.example", "10.0.0.1"))


# Headers

FORGED = [
    *("Host", "metadata", "Metadata", "Metadata-Flavor", "Metadata-Token", "X-aws-ec2-metadata-token"),
    *(
        "X-aws-ec2-metadata-token-ttl-seconds",
        "X-Google-Metadata-Request",
        "X-aliyun-ecs-metadata-token",
        "X-Metadata-A",
    ),
]


@pytest.mark.parametrize("name", FORGED)
def test_a_header_that_pretends_is_guarded_unless_it_is_named(name: str) -> None:
    check = Check(http="http://127.0.0.1:80/", headers={name: "x"})
    wrong = ("headers", f"{name} may not be sent by checks of this node: see check_headers")
    assert check.flaw(CheckRules(), ()) == wrong
    assert check.flaw(CheckRules.of(DEFAULT_TARGETS, [name.upper()]), ()) is None


def test_the_host_of_the_url_and_other_headers_are_no_forgery() -> None:
    for host in ("app.example:80", "App.example"):
        headers = {"host": host, "Authorization": "Bearer x", "X-Meta": "a", "Metadata2": "b"}
        assert Check(http="http://APP.example:80/", headers=headers).flaw(CheckRules(), ()) is None
    assert Check(http="http://app.example:80/", headers={"Host": "app.example:81"}).flaw(CheckRules(), ()) is not None


@pytest.mark.parametrize("header", ["", "a b", "a:", "\u00e9", "Host\r\n"])
def test_what_is_no_header_is_refused(header: str) -> None:
    with pytest.raises(ConfigError, match=r"check_headers: .* is not the name of a header"):
        Config(check_headers=(header,))


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        ({"http": "http://A.example:80/x"}, "a.example"),
        ({"http": "http://[fe80::1%25eth0]/"}, "fe80::1%eth0"),
        ({"tcp": "[::1]:80"}, "::1"),
        ({"grpc": "b.example:1/s"}, "b.example"),
        ({"ttl": 1}, None),
        ({"command": ["true"]}, None),
    ],
)
def test_a_check_says_which_host_it_contacts(fields: dict[str, object], host: str | None) -> None:
    check = Check(**fields)  # type: ignore[arg-type]
    assert check.host == host
    banned = check.flaw(CheckRules.of(["off"], ()), ())
    assert (banned is None) == (host is None or ip_or_none(host) is None)
    assert banned is None or banned == (
        check.kind,
        f"{host} may not be contacted by checks of this node: see check_targets",
    )


def ip_or_none(host: str) -> object:
    try:
        return ip_address(host)
    except ValueError:
        return None
