"""The commands about what is to be everywhere: splits, weights, and maintenance of any node's instance."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from gossipreg.cli.time_format import local
from tests.cli.conftest import Ran
from tests.cli.fake_agent import FakeAgent

AT = local(1_700_000_000.123)


def test_a_split_is_set_with_its_shares(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    ran = ask("policy", "set", "orders", "--split", "v1=90", "--split", "v2=10")
    assert ran == Ran(0, f"split:orders\torders\t-\tsplit v1=90, v2=10 by tag\tweb-1\t{AT}\n", "")
    ask("policy", "set", "orders", "--split", "a=b=1", "--by", "zone")
    assert [body for _, _, body in fake.requests] == [
        {"service": "orders", "split": {"v1": 90, "v2": 10}, "by": "tag"},
        {"service": "orders", "split": {"a=b": 1}, "by": "zone"},
    ]


def test_weights_and_maintenance_are_about_an_instance(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    about = ("policy", "set", "orders", "--instance", "orders-1")
    assert ask(*about, "--weight", "0").out.split("\t")[2:4] == ["orders-1", "weight 0"]
    assert ask(*about, "--maintenance", "new disk").out.split("\t")[2:4] == ["orders-1", "maintenance: new disk"]
    assert [body for _, _, body in fake.requests] == [
        {"service": "orders", "instance": "orders-1", "weight": 0},
        {"service": "orders", "instance": "orders-1", "maintenance": "new disk"},
    ]


def test_policies_are_listed_and_removed_by_their_keys(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    assert ask("policy", "list") == Ran(0, "", "gossipreg: no policy is in force\n")
    ask("policy", "set", "orders", "--split", "v1=1")
    ask("weight", "orders-1", "5", "--service", "orders")
    assert [line.split("\t")[0] for line in ask("policy", "list").out.splitlines()] == [
        "split:orders",
        "weight:orders:orders-1",
    ]
    assert json.loads(ask("policy", "list", "--json").out) == {"policies": list(fake.policies.values())}
    assert ask("policy", "remove", "split:orders") == Ran(0, "removed split:orders\n", "")
    assert ask("policy", "remove", "split:orders") == Ran(
        1, "", "gossipreg: no policy 'split:orders' is in force: see `gossipreg policy list`\n"
    )


def test_a_weight_is_changed_and_left_to_its_owner_again(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    assert ask("weight", "orders-1", "5", "--service", "orders").out.startswith("weight:orders:orders-1\torders\t")
    ran = ask("weight", "orders-1", "--clear", "--service", "orders", "--json")
    assert json.loads(ran.out) == {"removed": "weight:orders:orders-1"}
    assert not fake.policies


def test_an_instance_of_any_node_is_taken_out_by_a_policy(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    ran = ask("maintenance", "orders-7", "--service", "orders", "--reason", "new disk")
    assert ran.out.split("\t")[3] == "maintenance: new disk"
    assert ask("maintenance", "orders-7", "--service", "orders").out.split("\t")[3] == "maintenance"
    assert ask("maintenance", "orders-7", "--service", "orders", "--end").out == "removed maintenance:orders:orders-7\n"
    assert not fake.policies


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("policy", "set", "orders"), "give one of --split, --weight and --maintenance"),
        (("policy", "set", "orders", "--split", "v1=1", "--weight", "1"), "give one of --split, --weight"),
        (("policy", "set", "orders", "--weight", "1"), "--instance goes with --weight and --maintenance"),
        (("policy", "set", "orders", "--split", "v1=1", "--instance", "a"), "--instance goes with --weight"),
        (("policy", "set", "orders", "--instance", "a", "--weight", "1", "--by", "tag"), "--by goes with --split"),
        (("policy", "set", "orders", "--split", "v1"), "invalid value for --split: 'v1' is not LABEL=SHARE"),
        (("policy", "set", "orders", "--split", "v1=-1"), "invalid value for --split: 'v1=-1' is not LABEL=SHARE"),
        (("policy", "set", "orders", "--split", "a=1", "--split", "a=2"), "invalid value for --split: 'a' has two"),
        (("policy", "set", "orders", "--instance", "a", "--weight", "70000"), "invalid value for '--weight': 70000"),
        (("weight", "orders-1", "--service", "orders"), "give either a weight or --clear"),
        (("weight", "orders-1", "5", "--service", "orders", "--clear"), "give either a weight or --clear"),
        (("weight", "orders-1", "5"), "missing option '--service'"),
    ],
)
def test_what_makes_no_policy_is_one_line_and_no_agent_is_asked(
    arguments: tuple[str, ...], sentence: str, fake: FakeAgent, ask: Callable[..., Ran]
) -> None:
    ran = ask(*arguments)
    assert (ran.status, ran.out, fake.requests) == (2, "", [])
    assert ran.err.startswith(f"gossipreg: {sentence}")
    assert ran.err.count("\n") == 1


def test_of_two_instances_of_one_id_the_one_is_meant_whose_owner_is_named(
    fake: FakeAgent, ask: Callable[..., Ran]
) -> None:
    both = ask("weight", "orders-1", "5", "--service", "orders")
    assert both.err == (
        "gossipreg: it is about 2 instances of that id, of as many owners: name one with --owner NAME\n"
    )
    for words in (
        ("weight", "orders-1", "5", "--service", "orders", "--owner", "web-2"),
        ("policy", "set", "orders", "--instance", "orders-1", "--owner", "web-2", "--weight", "5"),
    ):
        one = ask(*words)
        assert one.err == ""
        assert one.out.split("\t")[:3] == ["weight:orders@web-2:orders-1", "orders", "orders-1 of web-2"]
    cleared = ask("weight", "orders-1", "--clear", "--service", "orders", "--owner", "web-2")
    assert cleared.out == "removed weight:orders@web-2:orders-1\n"
    wrong = ask("policy", "set", "orders", "--split", "v1=1", "--owner", "web-2")
    assert (wrong.status, "--owner goes with --instance" in wrong.err) == (2, True)
