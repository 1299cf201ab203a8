"""What a client of Eureka's posts becomes an ordinary instance, and nothing of it is lost."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from gossipreg.check import CheckKind
from gossipreg.frontends.eureka.documents import read
from gossipreg.frontends.eureka.instance_document import KEPT, id_of, kept_of, tree_of
from gossipreg.frontends.eureka.posted_instance import LEASE, STATUS, PostedInstance
from gossipreg.frontends.eureka.trees import MalformedDocument
from gossipreg.model import Health, Instance
from tests.frontends.eureka.posts import NOW, in_json, in_xml, post, posted


def registered(post: PostedInstance, id: str | None = None) -> Instance:
    """The instance that comes of a post."""
    return post.spec(post.id if id is None else id).instance(member="alpha", host="127.0.0.1", zone="")


def test_it_is_registered_under_the_lower_case_name_of_its_application() -> None:
    instance = registered(posted("ORDERS"))
    assert (instance.service, instance.id) == ("orders", "host-1:orders:8080")
    assert (instance.host, instance.port) == ("127.0.0.1", 8080)
    assert instance.meta["management.port"] == "8081"


def test_all_that_was_posted_is_shown_again() -> None:
    said: Any = post(sid="na", asgName="group", another={"a": {"b": "c"}}, metadata={"team": "a", "weight": "3"})
    instance = registered(PostedInstance.read("ORDERS", said, NOW))
    shown: Any = tree_of(instance, kept_of(instance), "UP")
    lease = shown.pop("leaseInfo")
    assert lease["renewalIntervalInSecs"] == 10
    assert lease["durationInSecs"] == 40
    assert lease["registrationTimestamp"] == NOW
    assert shown == {key: value for key, value in said["instance"].items() if key != "leaseInfo"}


def test_xml_and_json_say_the_same() -> None:
    one = PostedInstance.read("ORDERS", read(in_json(post())), NOW)
    two = PostedInstance.read("ORDERS", read(in_xml(post())), NOW)
    assert registered(one).service == registered(two).service
    assert attrs.evolve(one, kept={}) == attrs.evolve(two, kept={})
    assert one.kept["port"] == two.kept["port"]
    assert one.kept["leaseInfo"] == two.kept["leaseInfo"]


def test_what_has_a_field_here_becomes_one_and_is_metadata_again_when_shown() -> None:
    metadata = {"weight": "30", "term": "2", "role": "primary", "zone": "eu-1", "tags": "v1,blue", "team": "a"}
    instance = registered(posted(metadata=metadata))
    assert (instance.weight, instance.term, instance.role, instance.zone) == (30, 2, "primary", "eu-1")
    assert instance.tags == ("v1", "blue")
    assert set(instance.meta) == {"team", KEPT}
    assert tree_of(instance, None, "UP")["metadata"] == metadata


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
    instance = registered(posted(metadata={key: text}))
    assert instance.meta[key] == text
    assert tree_of(instance, None, "UP")["metadata"][key] == text  # type: ignore[index,call-overload]


def test_a_client_that_says_little_is_understood() -> None:
    fields = dict.fromkeys(["instanceId", "securePort", "leaseInfo", "metadata", "overriddenstatus", "countryId"])
    said = posted("orders", hostName="host-9", port={"$": 8080, "@enabled": True}, **fields)
    assert said.app == "ORDERS"
    assert said.id == "host-9"
    assert said.kept["leaseInfo"]["durationInSecs"] == 90  # type: ignore[index,call-overload]
    assert said.kept["port"] == {"$": 8080, "@enabled": "true"}
    assert said.kept["securePort"] == {"$": 443, "@enabled": "false"}


def test_what_some_clients_leave_out_and_others_cannot_do_without_is_added() -> None:
    for name, of_it in (("MyOwn", "InstanceInfo$DefaultDataCenterInfo"), ("Amazon", "AmazonInfo")):
        shown: Any = posted(dataCenterInfo={"name": name}).kept["dataCenterInfo"]
        assert shown == {"@class": f"com.netflix.appinfo.{of_it}", "name": name}


def test_what_others_would_read_as_a_number_and_is_none_is_left_out() -> None:
    said = posted(countryId="", lastUpdatedTimestamp="now", lastDirtyTimestamp={})
    assert not {"countryId", "lastUpdatedTimestamp", "lastDirtyTimestamp"} & set(said.kept)
    assert said.dirty is None


def test_an_instance_in_a_cloud_has_the_id_that_the_cloud_gave_it() -> None:
    cloud = {"@class": "com.netflix.appinfo.AmazonInfo", "name": "Amazon", "metadata": {"instance-id": "i-1"}}
    assert posted(instanceId=None, dataCenterInfo=cloud).id == "i-1"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"instanceId": None, "hostName": None}, "Missing instanceId"),
        ({"hostName": ""}, "Missing hostname"),
        ({"app": None}, "Missing appName"),
        ({"app": "BILLING"}, "Mismatched appName, expecting ORDERS but was BILLING"),
        ({"ipAddr": None}, "Missing ip address"),
        ({"dataCenterInfo": {}}, "Missing dataCenterInfo Name"),
        ({"dataCenterInfo": "MyOwn"}, "Missing dataCenterInfo Name"),
        ({"port": {"$": "http", "@enabled": "true"}}, "port: 'http' is not a port from 1 to 65535"),
        ({"port": 70_000}, "port: '70000' is not a port from 1 to 65535"),
        ({"metadata": {KEPT: "x"}}, f"metadata: the key {KEPT} is taken: choose another"),
    ],
)
def test_what_is_missing_is_said_in_eurekas_words(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MalformedDocument) as refused:
        PostedInstance.read("ORDERS", post(**({"app": "ORDERS"} | fields)), NOW)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("document", [{}, {"instance": "x"}, {"instance": []}, {"instance": None}])
def test_a_document_without_an_instance_is_refused(document: Any) -> None:
    with pytest.raises(MalformedDocument, match="Missing instance"):
        PostedInstance.read("ORDERS", document, NOW)


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
def test_who_does_not_say_up_is_not_called(status: str) -> None:
    lease, check = posted(status=status).spec("x").checks
    assert lease.name == LEASE
    assert (check.name, check.initial) == (STATUS, Health.CRITICAL)
    assert check.deregister_after is None


def test_a_lease_of_no_length_is_one_of_the_usual_length() -> None:
    [lease] = posted(leaseInfo={"durationInSecs": 0}).spec("x").checks
    assert lease.ttl == 90


def test_an_id_that_is_taken_by_another_application_stays_its_id_in_eureka() -> None:
    instance = registered(posted(), id="orders:host-1:orders:8080")
    assert id_of(instance, kept_of(instance)) == "host-1:orders:8080"


def test_who_is_posted_again_was_registered_when_it_first_was() -> None:
    first = posted()
    again = PostedInstance.read("ORDERS", post(leaseInfo={"durationInSecs": 7}), NOW + 5000).since(first)
    lease: Any = again.kept["leaseInfo"]
    assert lease["registrationTimestamp"] == NOW
    assert lease["durationInSecs"] == 7
    assert PostedInstance.read("ORDERS", post(), NOW + 5000).since(first) == first


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


def test_the_text_that_is_kept_is_compact() -> None:
    text = registered(posted()).meta[KEPT]
    assert json.loads(text)["hostName"] == "host-1"
    assert len(text) < 900
