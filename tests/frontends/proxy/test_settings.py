from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from gossipreg.errors import ConfigError
from gossipreg.frontends.proxy.settings import Forward, load_forwards
from gossipreg.model import Address


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ports.toml"


def test_a_file_has_a_table_for_each_port_and_the_rest_is_common(file: Path) -> None:
    file.write_text(
        '[[forward]]\nlisten = "127.0.0.1:9000"\nservice = "orders"\ntries = 5\nidle_timeout = 60\n'
        '[[forward]]\nlisten = "[::1]:9001"\nservice = "users"\npanic = true\nproxy_protocol = "v2"\n'
        'failover = ["eu", "nearest"]\nfailover_threshold = 0.5\nslow_start = 30\nsticky = "source"\n'
    )
    assert load_forwards(file, {"tries": 2, "zone": "north"}) == (
        Forward(listen="127.0.0.1:9000", service="orders", tries=5, idle_timeout=60.0, zone="north"),
        Forward(
            listen=Address("::1", 9001),
            service="users",
            tries=2,
            panic=True,
            proxy_protocol="v2",
            zone="north",
            failover=("eu", "nearest"),
            failover_threshold=0.5,
            slow_start=30.0,
            sticky="source",
        ),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1", "unknown key 'x'"),
        (
            "[[forward]]\nlisten = '127.0.0.1:1'\nservice = 'a'\nfailover = ['eu']\npanic_threshold = 0.5",
            "forward 1: failover: cannot be had with panic_threshold",
        ),
        ("[[forward]]\nlisten = '127.0.0.1:1'\nservice = 'a'\nfailover = ['e u']", "failover: 'e u' names no region"),
        ("", "there is no port in it"),
        ("forward = 3", "there is no port in it"),
        ("[[forward]]\nlisten = '127.0.0.1:1'", "forward 1: service: is missing"),
        ("[[forward]]\nservice = 'a'", "forward 1: listen: is missing"),
        ("[[forward]]\nlisten = '127.0.0.1:1'\nservice = 'a'\ntry = 1", "forward 1: unknown key 'try': the keys are"),
        ("[[forward]]\nlisten = '127.0.0.1:1'\nservice = 'a'\ntries = '1'", "tries: '1' is not a whole number"),
        ("[[forward]]\nlisten = '127.0.0.1:1'\nservice = 'a'\ntries = true", "tries: True is not a whole number"),
        (
            "[[forward]]\nlisten = '127.0.0.1:1'\nservice = 'a'\ntries = 0",
            "tries: 0 is not a whole number from 1 to 1000",
        ),
        ("[[forward]]\nlisten = '127.0.0.1:1'\nservice = 'a b'", "service: 'a b' is not a name"),
        ("[[forward]]\nlisten = 'here'\nservice = 'a'", "listen: cannot read the port of 'here'"),
        ("[[forward]]\nlisten = '127.0.0.1:1'\nservice = 'a'\nproxy_protocol = '3'", "'3' is neither v1 nor v2"),
        ("[[forward]]\nlisten = '127.0.0.1:1'\nservice = 'a'\ndrain_time = nan", "drain_time: nan is not a number"),
        ("[[forward]]\nlisten = '127.0.0.1:1'\nservice = 'a'\nsticky = 'cookie'", "'cookie' is not source"),
        (
            "[[forward]]\nlisten = '127.0.0.1:1'\nservice = 'a'\npanic_threshold = 50",
            "50.0 is not a number from 0",
        ),
        ("[[forward", "is not TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(file: Path, text: str, sentence: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_forwards(file, {})
    assert sentence in str(refused.value)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"listen": None}, "listen: None is not a string"),
        ({"listen": "here"}, "listen: cannot read the port of 'here'"),
        ({"service": None}, "service: is missing"),
        ({"tag": 5}, "tag: 5 is not a string"),
        ({"role": "a b"}, "role: 'a b' is not a name"),
        ({"zone": ["a"]}, "zone: ['a'] is not a string"),
        ({"tries": 1.5}, "tries: 1.5 is not a whole number from 1 to 1000"),
        ({"tries": True}, "tries: True is not a whole number"),
        ({"connections_max": 2.5}, "connections_max: 2.5 is not a whole number"),
        ({"backlog": 10**9}, "backlog: 1000000000 is not a whole number from 1 to 65535"),
        ({"connect_timeout": "1"}, "connect_timeout: '1' is not a number of seconds from 0.001 to 3600"),
        ({"connect_timeout": 0}, "connect_timeout: 0.0 is not a number of seconds"),
        ({"drain_time": float("inf")}, "drain_time: inf is not a number of seconds"),
        ({"idle_timeout": -1}, "idle_timeout: -1.0 is not a number of seconds"),
        ({"panic": "no"}, "panic: 'no' is not true or false"),
        ({"panic_threshold": True}, "panic_threshold: True is not a number from 0 to 1"),
        ({"sticky": True}, "sticky: True is not source"),
        ({"proxy_protocol": 1}, "proxy_protocol: 1 is neither v1 nor v2"),
    ],
)
def test_what_is_wrong_in_python_is_named_too(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Forward(**{"listen": "127.0.0.1:0", "service": "a"} | values)
    assert str(refused.value).startswith(sentence)


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*: No such file"):
        load_forwards(file, {})


def test_every_setting_says_what_it_is() -> None:
    assert all(field.metadata["doc"] for field in attrs.fields(Forward))
