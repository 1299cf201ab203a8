"""A configuration made in Python is held to what one from a file or a variable is held to."""

from __future__ import annotations

import base64
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import attrs
import pytest

from gossipreg import limits
from gossipreg.agent_config import AgentConfig
from gossipreg.config import Config
from gossipreg.errors import ConfigError, InsecureError, InvalidSetting
from gossipreg.federation import Federation
from gossipreg.fields import FieldKind
from gossipreg.protocol.dissemination.broadcast_queue import BroadcastQueue, Topic
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.suspicion import Suspicion
from gossipreg.runtime.opening import open_node
from gossipreg.settings import Settings

KEY = base64.b64encode(bytes(32)).decode()


def refusal(made: type[Any], **values: Any) -> str:
    with pytest.raises(InvalidSetting) as refused:
        made(**values)
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert len(sentence) < 300
    return sentence


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"insecure": "no"}, "insecure: 'no' is not true or false"),
        ({"insecure": 1}, "insecure: 1 is not true or false"),
        ({"insecure": None}, "insecure: None is not true or false"),
        ({"name": 5}, "name: 5 is not a string"),
        ({"name": "a b"}, "name: 'a b' is not a name: use 1 to 63 letters, digits and inner '.', '_', '-'"),
        ({"name": ["a"]}, "name: ['a'] is not a string"),
        ({"cluster": None}, "cluster: None is not a string"),
        ({"cluster": ""}, "cluster: '' is not a name: use 1 to 63 letters, digits and inner '.', '_', '-'"),
        ({"zone": True}, "zone: True is not a string"),
        ({"bind": 7940}, "bind: 7940 is not a string"),
        ({"bind": None}, "bind: None is not a string"),
        ({"bind": "h:" + "9" * 5000}, "bind: cannot read the port of 'h:999"),
        ({"advertise": 1.5}, "advertise: 1.5 is not a string"),
        ({"join": 5}, "join: 5 is not a list of strings"),
        ({"join": None}, "join: None is not a list of strings"),
        ({"join": ["a", None]}, "join: ['a', None] is not a list of strings"),
        ({"join": b"ab"}, "join: b'ab' is not a list of strings"),
        ({"join": {"a": 1}}, "join: {'a': 1} is not a list of strings"),
        ({"join": ["a", "b:c"]}, "join: cannot read the port of 'b:c'"),
        ({"key": 5}, "key: it is not a string"),
        ({"key": "secret"}, "key: the key is not base64: make one with `gossipreg keygen --out FILE`"),
        ({"credential_key": "c2hvcnQ="}, "credential_key: the key has 5 bytes, not 32"),
        ({"key": KEY, "key_file": "key"}, "key: key_file is given, too: give one of them, not both"),
        (
            {"credential_key": KEY, "credential_key_file": "key"},
            "credential_key: credential_key_file is given, too: give one of them, not both",
        ),
        ({"join": "10.0.0.1:0"}, "join: '10.0.0.1:0' cannot be called: name a port from 1 to 65535"),
        ({"join": ["a:1", "[::1]:0"]}, "join: '[::1]:0' cannot be called: name a port from 1 to 65535"),
        ({"key_file": 3}, "key_file: 3 is not a path"),
        ({"key_file": ""}, "key_file: '' is not a path"),
        ({"data_dir": "a\0b"}, "data_dir: 'a\\x00b' is not a path"),
        ({"data_dir": "\ud800"}, "data_dir: '\\ud800' is not a path"),
        ({"snapshot": False}, "snapshot: False is not a path"),
        ({"command_checks": "yes"}, "command_checks: 'yes' is neither off, own nor api"),
        ({"command_checks": True}, "command_checks: True is neither off, own nor api"),
        ({"command_checks": ["off"]}, "command_checks: ['off'] is neither off, own nor api"),
        ({"protocol": {}}, "protocol: {} is no Settings"),
        ({"protocol": None}, "protocol: None is no Settings"),
    ],
)
def test_a_value_of_a_node_that_cannot_be_used_is_refused_by_name(values: dict[str, Any], sentence: str) -> None:
    assert refusal(Config, **values).startswith(sentence)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"http": 8500}, "http: 8500 is not a string"),
        ({"http": "8500"}, "http: cannot read the port of '8500'"),
        ({"http": "unix:x"}, "http: cannot read 'unix:x' as a socket file"),
        ({"http": "unix:/\udcff"}, "http: cannot read 'unix:/\\udcff' as a socket file"),
        ({"dns": None}, "dns: None is not a string"),
        ({"dns": "here"}, "dns: cannot read the port of 'here'"),
        ({"dns_ttl": 1.5}, "dns_ttl: 1.5 is not a whole number of seconds from 0 to 86400"),
        ({"dns_ttl": True}, "dns_ttl: True is not a whole number of seconds"),
        ({"dns_ttl": -1}, "dns_ttl: -1 is not a whole number of seconds"),
        ({"dns_ttl": "5"}, "dns_ttl: '5' is not a whole number of seconds"),
        ({"node_meta": ("rack",)}, "node_meta: 'rack' is not KEY=VALUE"),
        ({"node_meta": ("a.b=c",)}, "node_meta: 'a.b=c' is not KEY=VALUE"),
        ({"node_meta": ("a=1", "a=2")}, "node_meta: 'a' is there twice"),
        (
            {"node_meta": tuple(f"k{n}=" for n in range(limits.NODE_META_ENTRIES_MAX + 1))},
            "node_meta: 65 entries are too many: 64 is the limit",
        ),
        ({"node_meta": ("a=" + "b" * (limits.NODE_META_VALUE_CHARS_MAX + 1),)}, "node_meta: 'a=bbb"),
        ({"dns_domain": ()}, "dns_domain: name at least one domain"),
        ({"dns_domain": "a b"}, "dns_domain: 'a b' is not a domain"),
        ({"dns_domain": [1]}, "dns_domain: [1] is not a list of strings"),
        (
            {"compatibility_apis": "a/b"},
            "compatibility_apis: 'a/b' is no name of an API such as consul; off alone means none",
        ),
        ({"compatibility_apis": 1}, "compatibility_apis: 1 is not a list of strings"),
        ({"log_format": None}, "log_format: None is neither text nor json"),
        ({"tokens_file": 0}, "tokens_file: 0 is not a path"),
        ({"services_dir": []}, "services_dir: [] is not a path"),
        ({"dns": "127.0.0.1:8500"}, "dns: 127.0.0.1:8500 is that of http too: give each a port of its own"),
        ({"bind": "127.0.0.1:8500"}, "http: 127.0.0.1:8500 is that of bind too"),
        ({"dns": "127.0.0.1:7940"}, "dns: 127.0.0.1:7940 is that of bind too"),
    ],
)
def test_a_value_of_an_agent_that_cannot_be_used_is_refused_by_name(values: dict[str, Any], sentence: str) -> None:
    assert refusal(AgentConfig, **values).startswith(sentence)


def test_ports_that_are_chosen_by_the_kernel_or_not_opened_clash_with_none() -> None:
    AgentConfig(bind="127.0.0.1:0", http="127.0.0.1:0", dns="127.0.0.1:0")
    AgentConfig(bind="127.0.0.1:1", http="off", dns="off")
    AgentConfig(bind="127.0.0.1:1", http="unix:/run/a", dns="127.0.0.2:1")


def test_what_is_brought_into_form_is_what_it_says() -> None:
    paths: dict[str, Any] = {"key_file": "key", "data_dir": PurePosixPath("data")}
    config = Config(join="a", protocol=Settings(probe_interval=2), **paths)
    assert config.join == ("a",)
    assert config.key_file == Path("key")
    assert config.data_dir == Path("data")
    assert isinstance(config.protocol.probe_interval, float)
    assert Config(join=(seed for seed in ("a", "b"))).join == ("a", "b")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"gossip_fanout": 1.5}, "protocol.gossip_fanout: 1.5 is not a whole number from 1 to 64"),
        ({"gossip_fanout": True}, "protocol.gossip_fanout: True is not a whole number from 1 to 64"),
        ({"gossip_fanout": 65}, "protocol.gossip_fanout: 65 is not a whole number from 1 to 64"),
        ({"gossip_fanout": "3"}, "protocol.gossip_fanout: '3' is not a whole number from 1 to 64"),
        ({"lifelines": 17}, "protocol.lifelines: 17 is not a whole number from 0 to 16"),
        ({"nack_fraction": 7}, "protocol.nack_fraction: 7.0 is not a number above 0, up to 1"),
        ({"probe_early": 1.1}, "protocol.probe_early: 1.1 is not a number from 0 to 1"),
        ({"suspicion_beta": 0.5}, "protocol.suspicion_beta: 0.5 is not a number from 1 to 1000"),
        ({"probe_interval": 0}, "protocol.probe_interval: 0.0 is not a number of seconds from 0.001 to 3600"),
        ({"probe_interval": -1}, "protocol.probe_interval: -1.0 is not a number of seconds from 0.001 to 3600"),
        ({"join_retry": float("nan")}, "protocol.join_retry: nan is not a number of seconds from 0.001 to 3600"),
        ({"drain_time": float("inf")}, "protocol.drain_time: inf is not a number of seconds from 0 to 3600"),
        ({"drain_time": 10**400}, "protocol.drain_time: 1000000"),
        ({"probe_timeout": 1.5}, "protocol.probe_timeout: 1.5 is not below probe_interval, 1.0: in the time between"),
        ({"probe_timeout": 1}, "protocol.probe_timeout: 1.0 is not below probe_interval, 1.0: in the time between"),
        ({"probe_interval": 0.2}, "protocol.probe_timeout: 0.5 is not below probe_interval, 0.2: in the time between"),
        ({"probe_timeout_min": 0.6}, "protocol.probe_timeout_min: 0.6 is greater than probe_timeout, 0.5: "),
        ({"gossip_coalesce": 0.3}, "protocol.gossip_coalesce: 0.3 is greater than gossip_coalesce_max, 0.25: "),
        ({"join_retry": 2}, "protocol.join_retry: 2.0 is greater than join_retry_max, 1.0: "),
        ({"damping_base": 130}, "protocol.damping_base: 130.0 is greater than damping_max, 120.0: "),
        ({"damping_memory": 100}, "protocol.damping_max: 120.0 is greater than damping_memory, 100.0: "),
        (
            {"remember_departed": 40, "reconnect_interval": 50},
            "protocol.reconnect_interval: 50.0 is greater than remember_departed, 40.0: ",
        ),
        (
            {"remember_departed": 37},
            (
                "protocol.remember_departed: 37.0 is shorter than the longest suspicion, suspicion_alpha x suspicion_"
                "beta x log10(16384 members) x probe_interval = 37.9"
            ),
        ),
        (
            {"gossip_transmissions": 30},
            (
                "protocol.gossip_transmissions: 30 transmissions at gossip_gap 0.01 and gossip_growth 2.0 have a last "
                "gap of 2.68435e+06 s"
            ),
        ),
    ],
)
def test_a_knob_that_cannot_be_used_is_refused_by_name(values: dict[str, Any], sentence: str) -> None:
    assert refusal(Settings, **values).startswith(sentence)


def test_a_relation_is_held_to_what_the_protocol_does() -> None:
    settings = EngineSettings(gossip_transmissions=9, gossip_gap=1.0, gossip_growth=4.0)
    queue, waits, due = BroadcastQueue(settings), [], 0.0
    queue.enqueue(Topic.INSTANCES, "a", b"a", 0.0)
    while queue.deadline < math.inf:
        waits.append(queue.deadline - due)
        due = queue.deadline
        queue.flush(1000, limits.MEMBERS_MAX, due)
    assert len(waits) == 9
    Settings(gossip_transmissions=9, gossip_gap=1.0, gossip_growth=4.0, remember_departed=waits[-1])
    with pytest.raises(InvalidSetting, match="last gap"):
        Settings(gossip_transmissions=9, gossip_gap=1.0, gossip_growth=4.0, remember_departed=waits[-1] - 1)
    Settings(gossip_transmissions=1, gossip_gap=60.0, gossip_growth=0.1 + 1, remember_departed=59.0)

    longest = Suspicion.start(EngineSettings(), limits.MEMBERS_MAX, 1, 0.0).timeout
    Settings(remember_departed=longest)
    with pytest.raises(InvalidSetting, match="longest suspicion"):
        Settings(remember_departed=longest - 0.01)


@pytest.mark.parametrize("profile", [Settings.lan, Settings.wan, Settings.local])
def test_the_profiles_obey_what_their_fields_say(profile: Callable[[], Settings]) -> None:
    settings = profile()
    gaps = [settings.gossip_gap_after(count) for count in range(1, settings.gossip_transmissions)]
    by_tree = max(settings.gossip_tree_gap, gaps[0]) + sum(gaps[1:])
    assert settings.reconcile_settle > settings.gossip_coalesce_max + by_tree


def test_the_wan_profile_takes_three_times_as_long_to_find_a_failure() -> None:
    lan, wan = Settings.lan(), Settings.wan()
    for members in (3, 1000):
        assert wan.longest_suspicion(members) == 3 * lan.longest_suspicion(members)
    assert (wan.probe_interval, wan.probe_timeout) == (3 * lan.probe_interval, 3 * lan.probe_timeout)


def test_what_is_off_is_held_to_nothing() -> None:
    Settings(gossip_coalesce=0.3, gossip_coalesce_max=0)
    Settings(damping_base=0, damping_memory=0)


def test_all_that_is_at_odds_is_said_at_once() -> None:
    with pytest.raises(InvalidSetting, match=r"^protocol.probe_timeout: .*; protocol.join_retry: ") as refused:
        Settings(probe_timeout=2, join_retry=2)
    assert refused.value.fields == (
        "protocol.probe_timeout",
        "protocol.probe_interval",
        "protocol.join_retry",
        "protocol.join_retry_max",
    )


def test_a_changed_copy_is_checked_like_a_new_one() -> None:
    with pytest.raises(InvalidSetting, match=r"nack_fraction"):
        attrs.evolve(Settings(), nack_fraction=2.0)


@pytest.mark.parametrize("owner", [AgentConfig, Settings])
def test_every_field_has_a_kind_that_its_default_meets_and_that_other_things_do_not(owner: type[Any]) -> None:
    for field in attrs.fields(owner):
        if field.name != "protocol":
            kind: FieldKind = field.metadata["kind"]
            assert kind.wrong(field.default) is None, field.name
            assert kind.wrong(object()) is not None, field.name
            assert field.metadata["doc"].endswith((".", ")")), field.name


def test_an_error_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(InvalidSetting("a: b", ("a",))))
    assert str(error) == "a: b"
    assert isinstance(error, ConfigError)


async def test_gossip_in_clear_beyond_loopback_takes_the_truth_and_nothing_like_it() -> None:
    with pytest.raises(InsecureError):
        async with open_node(Config(bind="0.0.0.0:0", insecure=False)):
            pass


def test_the_page_lists_what_each_profile_changes() -> None:
    page = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text()
    for profile, made in (("wan", Settings.wan()), ("local", Settings.local())):
        [row] = [line for line in page.splitlines() if line.startswith(f"| `{profile}` |")]
        changed = {field.name: getattr(made, field.name) for field in attrs.fields(Settings)}
        changed = {name: value for name, value in changed.items() if value != getattr(Settings(), name)}
        assert dict(re.findall(r"`(\w+)` ([\d.]+)", row)) == {name: f"{value:g}" for name, value in changed.items()}


def test_a_region_to_fail_over_to_has_to_be_followed() -> None:
    eu = Federation(region="eu", agents=("10.1.0.5:8500",))
    assert AgentConfig(failover=("eu", "nearest", "default"), federate=[eu]).failover == ("eu", "nearest", "default")
    with pytest.raises(ConfigError, match=r"the region 'asia' is not followed: name it in a table \[\[federate\]\]"):
        AgentConfig(failover=("asia",), federate=[eu])
    with pytest.raises(ConfigError, match="'e u' names no region"):
        AgentConfig(failover=("e u",), federate=[eu])
