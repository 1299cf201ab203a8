"""What a client of Eureka's posts becomes an ordinary instance, read as Eureka's server reads it."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from gossipreg.check import CheckKind
from gossipreg.frontends.eureka.documents import DocumentFormat, read
from gossipreg.frontends.eureka.instance_document import KEPT, InstanceDocument, id_of, info_of, kept_of
from gossipreg.frontends.eureka.posted_instance import LEASE, STATUS, PostedInstance
from gossipreg.frontends.eureka.trees import MalformedDocument
from gossipreg.model import Health, Instance
from tests.frontends.eureka.posts import NOW, in_json, in_xml, post, posted

AMAZON = "com.netflix.appinfo.AmazonInfo"
PLAIN = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"
OWN = {"@class": PLAIN, "name": "MyOwn"}
NETFLIX = {"@class": PLAIN, "name": "Netflix"}


def registered(post: PostedInstance, id: str | None = None) -> Instance:
    """The instance that comes of a post."""
    return post.spec(post.id if id is None else id).instance(member="alpha", host="127.0.0.1", zone="")


def shown(post: PostedInstance) -> Any:
    """How the instance that comes of a post is printed in JSON."""
    instance = registered(post)
    return info_of(instance, kept_of(instance), post.status).tree("overriddenStatus")


def in_xml_of(parts: str, **fields: Any) -> PostedInstance:
    """A whole instance in XML with some elements more."""
    body = in_xml(post(**fields)).replace(b"</instance>", parts.encode() + b"</instance>")
    return PostedInstance.read("ORDERS", read(body), NOW, DocumentFormat.XML)


def test_it_is_registered_under_the_lower_case_name_of_its_application() -> None:
    instance = registered(posted("ORDERS"))
    assert (instance.service, instance.id) == ("orders", "host-1:orders:8080")
    assert (instance.host, instance.port) == ("127.0.0.1", 8080)
    assert instance.meta["management.port"] == "8081"


def test_what_eureka_knows_is_shown_again_in_its_own_types() -> None:
    texts = {"sid": "s", "asgName": "group", "secureHealthCheckUrl": "https://host-1/health"}
    said: Any = post(**texts, metadata={"team": "a", "weight": "3"})["instance"]
    printed = shown(PostedInstance.read("ORDERS", {"instance": said}, NOW))
    assert printed.pop("leaseInfo") == {
        "renewalIntervalInSecs": 10,
        "durationInSecs": 40,
        "registrationTimestamp": NOW,
        "lastRenewalTimestamp": NOW,
        "evictionTimestamp": 0,
        "serviceUpTimestamp": NOW,
    }
    added = {
        "overriddenStatus": "UNKNOWN",
        "isCoordinatingDiscoveryServer": "false",
        "lastUpdatedTimestamp": str(NOW),
    }
    del said["leaseInfo"], said["overriddenstatus"]
    assert printed == said | added


def test_a_post_of_little_is_filled_in() -> None:
    little: Any = {
        "hostName": "host-9",
        "app": "ORDERS",
        "ipAddr": "127.0.0.1",
        "dataCenterInfo": {"@class": PLAIN, "name": "MyOwn"},
    }
    said = PostedInstance.read("ORDERS", {"instance": little}, NOW)
    printed = shown(said)
    assert (said.id, said.port, said.status) == ("host-9", 7001, "UP")
    assert printed["port"] == {"$": 7001, "@enabled": "true"}
    assert printed["securePort"] == {"$": 7002, "@enabled": "false"}
    assert (printed["countryId"], printed["isCoordinatingDiscoveryServer"]) == (1, "false")
    assert (printed["lastUpdatedTimestamp"], printed["lastDirtyTimestamp"]) == (str(NOW), str(NOW))
    assert printed["leaseInfo"]["durationInSecs"] == 90
    assert not {"sid", "homePageUrl", "vipAddress", "asgName"} & printed.keys()
    assert None not in printed.values()


@pytest.mark.parametrize("form", DocumentFormat)
def test_what_eureka_does_not_know_is_dropped(form: DocumentFormat) -> None:
    """What a client invents made the whole list unreadable for Netflix's decoder."""
    odd: Any = {"another": {"a": {"b": "c"}}, "lastRenewal": [1], "actionType": "DELETED"}
    body = in_json(post(**odd)) if form is DocumentFormat.JSON else in_xml(post(**odd))
    printed = shown(PostedInstance.read("ORDERS", read(body), NOW, form))
    assert not odd.keys() & printed.keys()


@pytest.mark.parametrize("value", [True, "true", "TRUE", 1, {}, None])
def test_no_client_is_the_coordinating_server(value: Any) -> None:
    assert shown(posted(isCoordinatingDiscoveryServer=value))["isCoordinatingDiscoveryServer"] == "false"


def test_xml_and_json_say_the_same() -> None:
    one = PostedInstance.read("ORDERS", read(in_json(post())), NOW)
    two = PostedInstance.read("ORDERS", read(in_xml(post())), NOW, DocumentFormat.XML)
    assert one == two
    assert registered(one) == registered(two)


def test_what_has_a_field_here_becomes_one_and_is_metadata_again_when_shown() -> None:
    metadata = {"weight": "30", "term": "2", "role": "primary", "zone": "eu-1", "tags": "v1,blue", "team": "a"}
    instance = registered(posted(metadata=metadata))
    assert (instance.weight, instance.term, instance.role, instance.zone) == (30, 2, "primary", "eu-1")
    assert instance.tags == ("v1", "blue")
    assert set(instance.meta) == {"team", KEPT}
    assert shown(posted(metadata=metadata))["metadata"] == metadata


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("weight", "heavy"),
        ("weight", "-1"),
        ("weight", "007"),
        ("weight", "65536"),
        ("role", "fenced"),
        ("role", "two words"),
        ("zone", "eu/1"),
        ("tags", ""),
        ("tags", "a,,b"),
    ],
)
def test_metadata_that_cannot_be_a_field_stays_what_it_is(key: str, text: str) -> None:
    assert registered(posted(metadata={key: text})).meta[key] == text
    assert shown(posted(metadata={key: text}))["metadata"][key] == text


#: What the real server shows for a value of that field in JSON (Spring Cloud Netflix 4.1, seen on the wire).
@pytest.mark.parametrize(
    ("fields", "key", "expected"),
    [
        ({"countryId": "7"}, "countryId", 7),
        ({"countryId": "x"}, "countryId", 0),
        ({"countryId": ""}, "countryId", 0),
        ({"countryId": 1.5}, "countryId", 1),
        ({"countryId": True}, "countryId", 1),
        ({"countryId": {}}, "countryId", 0),
        ({"countryId": None}, "countryId", 1),
        ({"countryId": -3}, "countryId", -3),
        ({"lastDirtyTimestamp": 5}, "lastDirtyTimestamp", "5"),
        ({"lastDirtyTimestamp": "x"}, "lastDirtyTimestamp", "0"),
        ({"lastDirtyTimestamp": 1.5}, "lastDirtyTimestamp", "1"),
        ({"lastDirtyTimestamp": None}, "lastDirtyTimestamp", str(NOW)),
        ({"lastUpdatedTimestamp": "5"}, "lastUpdatedTimestamp", str(NOW)),
        ({"port": {"$": "8080", "@enabled": True}}, "port", {"$": 8080, "@enabled": "true"}),
        ({"port": {"$": 8080, "@enabled": False}}, "port", {"$": 8080, "@enabled": "false"}),
        ({"port": {"$": 8080}}, "port", {"$": 8080, "@enabled": "true"}),
        ({"port": {"@enabled": "true"}}, "port", {"$": 7001, "@enabled": "true"}),
        ({"port": {"$": 8080, "@enabled": "TRUE"}}, "port", {"$": 8080, "@enabled": "false"}),
        ({"port": {"$": " 80 ", "@enabled": 1}}, "port", {"$": 80, "@enabled": "true"}),
        ({"port": {"$": 8080.7}}, "port", {"$": 8080, "@enabled": "true"}),
        ({"port": {}}, "port", {"$": 7001, "@enabled": "true"}),
        ({"port": None}, "port", {"$": 7001, "@enabled": "true"}),
        ({"securePort": {"$": 8443}}, "securePort", {"$": 8443, "@enabled": "false"}),
        ({"securePort": {"$": "http"}}, "securePort", {"$": 0, "@enabled": "false"}),
        ({"securePort": {"$": -1, "@enabled": "false"}}, "securePort", {"$": -1, "@enabled": "false"}),
        ({"hostName": 5}, "hostName", "5"),
        ({"hostName": True}, "hostName", "true"),
        ({"homePageUrl": ""}, "homePageUrl", ""),
        ({"homePageUrl": 1.5}, "homePageUrl", "1.5"),
        ({"status": "up"}, "status", "UNKNOWN"),
        ({"status": "DANCING"}, "status", "UNKNOWN"),
        ({"status": ""}, "status", "UNKNOWN"),
        ({"status": None}, "status", "UP"),
        ({"metadata": {"a": 1, "b": True}}, "metadata", {"a": "1", "b": "true"}),
        ({"metadata": {"c": None, "d": 1.5}}, "metadata", {"c": "null", "d": "1.5"}),
        ({"metadata": {"@class": "java.util.Collections$EmptyMap"}}, "metadata", {}),
        ({"metadata": {"$": "a", "@b": "c"}}, "metadata", {"$": "a", "@b": "c"}),
        ({"dataCenterInfo": NETFLIX}, "dataCenterInfo", NETFLIX),
        (
            {"dataCenterInfo": {"@class": "com.netflix.appinfo.MyDataCenterInfo", "name": "MyOwn"}},
            "dataCenterInfo",
            {"@class": PLAIN, "name": "MyOwn"},
        ),
        (
            {"dataCenterInfo": {"@class": AMAZON, "name": "Amazon", "metadata": {"n": 5}}},
            "dataCenterInfo",
            {"@class": AMAZON, "name": "Amazon", "metadata": {"n": "5", "instance-id": "host-1:orders:8080"}},
        ),
        ({"leaseInfo": None}, "leaseInfo", (30, 90)),
        ({"leaseInfo": {"durationInSecs": "40", "x": {"y": 1}}}, "leaseInfo", (30, 40)),
        ({"leaseInfo": {"durationInSecs": 0, "renewalIntervalInSecs": -3}}, "leaseInfo", (30, 90)),
        ({"leaseInfo": {"durationInSecs": "x"}}, "leaseInfo", (30, 90)),
        ({"leaseInfo": {"durationInSecs": 1.5}}, "leaseInfo", (30, 1)),
        ({"sid": "na"}, "sid", None),
        ({"sid": ""}, "sid", ""),
    ],
)  # fmt: skip
def test_values_of_other_types_are_read_as_eurekas_server_reads_them(
    fields: dict[str, Any], key: str, expected: Any
) -> None:
    tree = post()
    assert isinstance(tree["instance"], dict)
    tree["instance"] |= fields
    found = shown(PostedInstance.read("ORDERS", tree, NOW)).get(key)
    if key == "metadata":
        del found["weight"]
    if key == "leaseInfo":
        found = found["renewalIntervalInSecs"], found["durationInSecs"]
    assert (found, type(found)) == (expected, type(found) if isinstance(found, dict) else type(expected))


@pytest.mark.parametrize(
    "fields",
    [
        {"app": None},
        {"hostName": {"a": "b"}},
        {"vipAddress": ["a"]},
        {"port": 8080},
        {"port": "8080"},
        {"port": True},
        {"port": {"$": 8080, "x": "y"}},
        {"port": {"$": 99_999_999_999}},
        {"securePort": 8443},
        {"countryId": 99_999_999_999},
        {"countryId": []},
        {"lastDirtyTimestamp": 10**20},
        {"leaseInfo": []},
        {"leaseInfo": "x"},
        {"leaseInfo": {"durationInSecs": 9_999_999_999}},
        {"metadata": ""},
        {"metadata": {"a": ["x"]}},
        {"metadata": {"a": {"b": "c"}}},
        {"dataCenterInfo": {}},
        {"dataCenterInfo": []},
        {"dataCenterInfo": {"name": "MyOwn"}},
        {"dataCenterInfo": {"@class": "x.Y", "name": "MyOwn"}},
        {"dataCenterInfo": {"@class": PLAIN, "name": "Foo"}},
        {"dataCenterInfo": {"@class": PLAIN, "name": ""}},
        {"dataCenterInfo": {"@class": PLAIN, "name": "MyOwn", "metadata": {}}},
        {"dataCenterInfo": {"@class": AMAZON, "name": "Amazon"}},
        {"dataCenterInfo": {"@class": AMAZON, "name": "MyOwn"}},
    ],
)
def test_what_eurekas_server_cannot_parse_is_refused_in_its_words_and_with_the_field(fields: dict[str, Any]) -> None:
    with pytest.raises(MalformedDocument) as refused:
        PostedInstance.read("ORDERS", post(**({"app": "ORDERS"} | fields)), NOW)
    assert str(refused.value).startswith("cannot parse request body: ")
    assert next(iter(fields)) in str(refused.value) or "durationInSecs" in str(refused.value)


@pytest.mark.parametrize(
    ("parts", "key", "expected"),
    [
        ("<status>up</status>", "status", "UP"),
        ("<countryId>7</countryId>", "countryId", 7),
        ("<lastDirtyTimestamp>x</lastDirtyTimestamp>", "lastDirtyTimestamp", str(NOW)),
        ("<lastDirtyTimestamp/>", "lastDirtyTimestamp", str(NOW)),
        ("<leaseInfo><durationInSecs>x</durationInSecs></leaseInfo>", "leaseInfo", (30, 90)),
        ("<leaseInfo/>", "leaseInfo", (30, 90)),
        ('<port enabled="TRUE">80</port>', "port", {"$": 80, "@enabled": "true"}),
        ('<port enabled="yes">80</port>', "port", {"$": 80, "@enabled": "false"}),
        ("<port>80</port>", "port", {"$": 80, "@enabled": "true"}),
        ("<homePageUrl/>", "homePageUrl", ""),
        ("<metadata><a>1</a><a>2</a></metadata>", "metadata", {"a": "2"}),
        ("<metadata><a><b>c</b></a></metadata>", "metadata", {"a": ""}),
        ("<metadata>text</metadata>", "metadata", {}),
        ("<metadata/>", "metadata", {}),
        ('<metadata><a b="c"> d </a></metadata>', "metadata", {"a": " d "}),
        ("<metadata><a__b>1</a__b><_-c>2</_-c></metadata>", "metadata", {"a_b": "1", "$c": "2"}),
        ("<metadata><d_.0020e>3</d_.0020e></metadata>", "metadata", {"d e": "3"}),
        ("<dataCenterInfo><name>MyOwn</name><metadata></metadata></dataCenterInfo>", "dataCenterInfo", OWN),
        (
            '<dataCenterInfo class="x.Y"><name>MyOwn</name><metadata><a>b</a></metadata></dataCenterInfo>',
            "dataCenterInfo",
            OWN,
        ),
        (
            "<dataCenterInfo><name>Amazon</name></dataCenterInfo>",
            "dataCenterInfo",
            {"@class": AMAZON, "name": "Amazon", "metadata": {"instance-id": "host-1:orders:8080"}},
        ),
    ],
)  # fmt: skip
def test_xml_is_read_as_eurekas_server_reads_it(parts: str, key: str, expected: Any) -> None:
    found = shown(in_xml_of(parts)).get(key)
    if key == "metadata":
        del found["weight"]
    if key == "leaseInfo":
        found = found["renewalIntervalInSecs"], found["durationInSecs"]
    assert found == expected


@pytest.mark.parametrize(
    "parts", ["<port/>", "<port>x</port>", "<port><a>1</a></port>", "<countryId>x</countryId>", "<countryId/>"]
)
def test_a_number_in_xml_must_be_one(parts: str) -> None:
    with pytest.raises(MalformedDocument, match="cannot parse request body: "):
        in_xml_of(parts)


def test_an_instance_in_a_cloud_has_the_id_that_the_cloud_gave_it() -> None:
    cloud = {"@class": AMAZON, "name": "Amazon", "metadata": {"instance-id": "i-1"}}
    assert posted(instanceId=None, dataCenterInfo=cloud).id == "i-1"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"instanceId": None, "hostName": None}, "Missing instanceId"),
        ({"hostName": ""}, "Missing hostname"),
        ({"hostName": "", "ipAddr": ""}, "Missing hostname"),
        ({"ipAddr": None}, "Missing ip address"),
        ({"app": ""}, "Missing appName"),
        ({"app": "BILLING"}, "Mismatched appName, expecting ORDERS but was BILLING"),
        ({"dataCenterInfo": None}, "Missing dataCenterInfo"),
        ({"dataCenterInfo": {"@class": PLAIN}}, "Missing dataCenterInfo Name"),
        ({"port": {"$": "http", "@enabled": "true"}}, "port: 0 is not a port from 1 to 65535"),
        ({"port": {"$": 70_000}}, "port: 70000 is not a port from 1 to 65535"),
        ({"metadata": {KEPT: "x"}}, f"metadata: the key {KEPT} is taken: choose another"),
    ],
)
def test_what_is_missing_is_said_in_eurekas_words(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MalformedDocument) as refused:
        PostedInstance.read("ORDERS", post(**({"app": "ORDERS"} | fields)), NOW)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("document", [{}, {"instance": "x"}, {"instance": []}, {"instance": None}, {"x": {}}])
def test_a_document_without_an_instance_is_refused(document: Any) -> None:
    with pytest.raises(MalformedDocument, match="the body is neither"):
        PostedInstance.read("ORDERS", document, NOW)


def test_a_document_with_more_than_an_instance_is_refused() -> None:
    with pytest.raises(MalformedDocument, match="the body is neither"):
        PostedInstance.read("ORDERS", post() | {"x": 1}, NOW)


def test_of_two_ports_the_one_that_is_enabled_is_called() -> None:
    off, on = {"$": -1, "@enabled": "false"}, {"$": 8443, "@enabled": "true"}
    assert posted(securePort=on).port == 8080
    assert posted(port=off, securePort=on).port == 8443


def test_a_lease_lapses_after_its_duration_and_ends_after_another() -> None:
    [lease] = posted().spec("x").checks
    assert (lease.name, lease.kind, lease.ttl) == (LEASE, CheckKind.TTL, 40)
    assert lease.deregister_after == 40
    assert lease.initial is Health.PASSING


@pytest.mark.parametrize("status", ["STARTING", "DOWN", "OUT_OF_SERVICE", "UNKNOWN", "", "dancing"])
def test_an_instance_that_does_not_say_up_is_not_called(status: str) -> None:
    lease, check = posted(status=status).spec("x").checks
    assert lease.name == LEASE
    assert (check.name, check.initial) == (STATUS, Health.CRITICAL)
    assert check.deregister_after is None
    assert posted(status=status).info.lease.up == 0


def test_an_id_that_is_taken_by_another_application_stays_its_id_in_eureka() -> None:
    instance = registered(posted(), id="orders:host-1:orders:8080")
    assert id_of(instance, kept_of(instance)) == "host-1:orders:8080"


def test_an_instance_posted_again_was_registered_when_it_first_was() -> None:
    first = posted()
    again = PostedInstance.read("ORDERS", post(leaseInfo={"durationInSecs": 7}), NOW + 5000).since(first)
    assert again.info.lease.registered == NOW
    assert again.info.lease.duration == 7
    assert again.info.updated == NOW + 5000


@pytest.mark.parametrize("dirty", [None, "1700000000000"])
def test_a_post_of_what_is_known_is_the_one_before(dirty: str | None) -> None:
    first = posted(lastDirtyTimestamp=dirty)
    held = PostedInstance.of(attrs.evolve(registered(first), zone="north"))
    again = PostedInstance.read("ORDERS", post(lastDirtyTimestamp=dirty), NOW + 5000).since(held)
    assert registered(again) == registered(first)


def test_what_was_posted_can_be_posted_again_from_what_is_registered() -> None:
    first = posted(metadata={"team": "a", "weight": "3", "zone": "eu-1"})
    for id_ in (first.id, "another"):
        again = PostedInstance.of(registered(first, id_))
        assert again is not None
        assert again.spec(id_) == first.spec(id_)


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "{}", '{"status": "UP"}', '{"status": "UP", "leaseInfo": NaN}', '{"a":' * 50 + "1" + "}" * 50],
)
def test_meta_that_only_looks_like_a_post_is_none(text: str) -> None:
    instance = Instance(id="a", service="orders", host="127.0.0.1", port=1, meta={KEPT: text})
    assert kept_of(instance) is None
    assert PostedInstance.of(instance) is None


def test_meta_that_was_written_by_hand_shows_nothing_of_a_wrong_type() -> None:
    """It may also come from an older version of this program, which kept what was posted as it came."""
    kept = {
        "status": "UP",
        "leaseInfo": {"durationInSecs": [1]},
        "port": {"$": "http", "@enabled": 1},
        "securePort": {},
        "dataCenterInfo": {"name": "MyOwn", "metadata": ""},
        "hostName": {"a": 1},
        "countryId": True,
        "isCoordinatingDiscoveryServer": True,
        "vipAddress": None,
        "lastDirtyTimestamp": "5",
        "odd": {"a": "b"},
    }
    instance = Instance(id="a", service="orders", host="127.0.0.1", port=1, meta={KEPT: json.dumps(kept)})
    printed: Any = InstanceDocument.of(instance, healthy=True).info.tree("overriddenStatus")
    assert printed["leaseInfo"]["durationInSecs"] == 90
    assert printed["port"] == {"$": 7001, "@enabled": "false"}
    assert printed["dataCenterInfo"] == {"@class": PLAIN, "name": "MyOwn"}
    assert (printed["hostName"], printed["countryId"]) == ("127.0.0.1", 1)
    assert (printed["isCoordinatingDiscoveryServer"], printed["lastDirtyTimestamp"]) == ("false", "5")
    assert not {"odd", "vipAddress"} & printed.keys()


def test_the_text_that_is_kept_is_compact() -> None:
    text = registered(posted()).meta[KEPT]
    assert json.loads(text)["hostName"] == "host-1"
    assert len(text) < 900
