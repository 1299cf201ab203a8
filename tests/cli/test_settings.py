"""Settings come from flags, variables, a file and defaults, and a bad one is named with its place."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.agent_config import AgentConfig
from gossipreg.cli.settings import SETTINGS, load, misspelled_variables
from gossipreg.errors import ConfigError
from gossipreg.settings import Settings
from tests.hidden import hidden


def toml(directory: Path, text: str) -> Path:
    path = directory / "agent.toml"
    return hidden(path, text)


def refusal(
    *, flags: dict[str, Any] | None = None, environ: dict[str, str] | None = None, file: Path | None = None
) -> str:
    with pytest.raises(ConfigError) as refused:
        load(flags or {}, environ or {}, file)
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


def test_nothing_given_is_the_default_configuration() -> None:
    assert load({}, {}, None) == AgentConfig()


def test_a_flag_outranks_the_environment_which_outranks_the_file(tmp_path: Path) -> None:
    file = toml(tmp_path, 'name = "file"\ncluster = "file"\nzone = "file"')
    environ = {"GOSSIPREG_NAME": "variable", "GOSSIPREG_CLUSTER": "variable"}
    config = load({"name": "flag"}, environ, file)
    assert (config.name, config.cluster, config.zone) == ("flag", "variable", "file")


def test_options_that_were_not_given_outrank_nothing() -> None:
    config = load(
        {"name": None, "join": (), "insecure": False}, {"GOSSIPREG_INSECURE": "yes", "GOSSIPREG_JOIN": "a"}, None
    )
    assert config.insecure
    assert config.join == ("a",)


def test_every_setting_can_come_from_a_file(tmp_path: Path) -> None:
    key = base64.b64encode(bytes(32)).decode()
    file = toml(
        tmp_path,
        f"""
        name = "web-1"
        cluster = "shop"
        bind = "127.0.0.1:0"
        advertise = "10.0.0.5:7940"
        join = ["10.0.0.6", "seeds.example:7941"]
        zone = "eu-1"
        key = "{key}"
        credential_key_file = "keys"
        insecure = true
        data_dir = "/var/lib/gossipreg"
        http = "off"
        dns = "127.0.0.1:0"
        dns_domain = ["shop.internal", "consul."]
        dns_ttl = 5
        services_dir = "services.d"
        log_format = "json"
        [protocol]
        probe_interval = 2
        indirect_probes = 4
        """,
    )
    assert load({}, {}, file) == AgentConfig(
        name="web-1",
        cluster="shop",
        bind="127.0.0.1:0",
        advertise="10.0.0.5:7940",
        join=("10.0.0.6", "seeds.example:7941"),
        zone="eu-1",
        key=key,
        credential_key_file=Path("keys"),
        insecure=True,
        data_dir=Path("/var/lib/gossipreg"),
        http="off",
        dns="127.0.0.1:0",
        dns_domain=("shop.internal", "consul."),
        dns_ttl=5,
        services_dir=Path("services.d"),
        log_format="json",
        protocol=Settings(probe_interval=2.0, indirect_probes=4),
    )


def test_every_setting_can_come_from_the_environment() -> None:
    environ = {
        "GOSSIPREG_BIND": "127.0.0.1:0",
        "GOSSIPREG_JOIN": "10.0.0.6, 10.0.0.7:7941",
        "GOSSIPREG_INSECURE": "true",
        "GOSSIPREG_DATA_DIR": "data",
        "GOSSIPREG_PROTOCOL_PROBE_INTERVAL": "0.75",
        "GOSSIPREG_PROTOCOL_INDIRECT_PROBES": "5",
    }
    assert load({}, environ, None) == AgentConfig(
        bind="127.0.0.1:0",
        join=("10.0.0.6", "10.0.0.7:7941"),
        insecure=True,
        data_dir=Path("data"),
        protocol=Settings(probe_interval=0.75, indirect_probes=5),
    )


def test_a_profile_is_what_the_protocols_settings_begin_with(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('profile = "wan"\n[protocol]\nprobe_interval = "5s"\ndrain_time = 1\n')
    assert load({}, {}, file).protocol == Settings.wan(probe_interval=5.0, drain_time=1.0)
    assert load({"profile": "local"}, {}, file).protocol == Settings.local(probe_interval=5.0, drain_time=1.0)
    assert load({}, {"GOSSIPREG_PROFILE": "local"}, None).protocol == Settings.local()
    assert load({}, {}, None).protocol == Settings.lan()
    with pytest.raises(ConfigError, match="--profile: 'van' is neither lan, wan nor local"):
        load({"profile": "van"}, {}, None)


def test_a_duration_may_have_a_unit_in_a_file_and_in_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('dns_ttl = "1m"\n[protocol]\nprobe_interval = "1500ms"\n')
    environ = {"GOSSIPREG_PROTOCOL_DRAIN_TIME": "1m30s"}
    assert load({}, environ, file) == AgentConfig(dns_ttl=60, protocol=Settings(probe_interval=1.5, drain_time=90.0))


def test_an_empty_variable_is_one_not_set() -> None:
    assert load({}, {"GOSSIPREG_NAME": "", "GOSSIPREG_JOIN": ""}, None) == AgentConfig()


@given(st.floats(min_value=0.51, max_value=2000.0), st.integers(1, 64))
def test_a_number_means_the_same_in_a_variable_and_in_a_value(interval: float, probes: int) -> None:
    environ = {
        "GOSSIPREG_PROTOCOL_PROBE_INTERVAL": repr(interval),
        "GOSSIPREG_PROTOCOL_INDIRECT_PROBES": repr(probes),
    }
    assert load({}, environ, None).protocol == Settings(probe_interval=interval, indirect_probes=probes)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("naem = 'a'", "unknown key 'naem': did you mean 'name'?"),
        ("probe_interval = 1", "unknown key 'probe_interval': did you mean 'protocol.probe_interval'?"),
        (
            "[protocol]\nprobe_intervall = 1",
            "unknown key 'protocol.probe_intervall': did you mean 'protocol.probe_interval'?",
        ),
        ("protocol = 3", "protocol: 3 is not a table: write [protocol] and its keys below"),
        ("name = 3", "name: 3 is not a string"),
        ("join = 'a,b'", "join: 'a,b' is not a list of strings"),
        ("join = ['a', 1]", "join: ['a', 1] is not a list of strings"),
        ("insecure = 'yes'", "insecure: 'yes' is not true or false"),
        ("bind = 'here:there'", "bind: cannot read the port of 'here:there'"),
        ("log_format = 'xml'", "log_format: 'xml' is neither text nor json"),
        ("[protocol]\nprobe_interval = 'fast'", "protocol.probe_interval: 'fast' is not a number"),
        ("[protocol]\nprobe_interval = nan", "protocol.probe_interval: nan is not a number"),
        (
            "[protocol]\nprobe_interval = -1",
            "protocol.probe_interval: -1.0 is not a number of seconds from 0.001",
        ),
        ("[protocol]\nindirect_probes = 2.5", "protocol.indirect_probes: 2.5 is not a whole number"),
        ("[protocol]\nindirect_probes = true", "protocol.indirect_probes: True is not a whole number"),
    ],
)
def test_a_bad_key_of_a_file_is_named_with_the_file(tmp_path: Path, text: str, sentence: str) -> None:
    file = toml(tmp_path, text)
    assert refusal(file=file).startswith(f"{file}: {sentence}")


def test_a_key_that_resembles_none_is_answered_with_the_list(tmp_path: Path) -> None:
    assert refusal(file=toml(tmp_path, "xyzzy = 1")).endswith(
        "those of [protocol], and tables [[services]] and [[federate]]"
    )


def test_services_in_the_file_are_no_settings(tmp_path: Path) -> None:
    file = toml(tmp_path, 'zone = "eu-1"\n[[services]]\nservice = "orders"\nport = 80\n')
    assert load({}, {}, file) == AgentConfig(zone="eu-1")
    assert "did you mean 'services'?" in refusal(file=toml(tmp_path, '[[servces]]\nservice = "orders"\n'))


def test_a_file_that_is_missing_or_not_toml_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert refusal(file=missing) == f"cannot read {missing}: No such file or directory"
    broken = toml(tmp_path, "name = ")
    assert refusal(file=broken).startswith(f"{broken} is not TOML: ")
    broken.write_bytes(b"name = '\xff'")
    assert refusal(file=broken).startswith(f"{broken} is not TOML: ")


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        ("GOSSIPREG_PROTOCOL_PROBE_INTERVAL", "fast", "'fast' is not a number"),
        ("GOSSIPREG_PROTOCOL_PROBE_INTERVAL", "inf", "inf is not a number"),
        ("GOSSIPREG_PROTOCOL_PROBE_INTERVAL", "0", "0.0 is not a number of seconds from 0.001"),
        ("GOSSIPREG_INSECURE", "perhaps", "'perhaps' is not true or false"),
        ("GOSSIPREG_JOIN", "a:b", "cannot read the port of 'a:b'"),
        ("GOSSIPREG_NAME", "a b", "'a b' is not a name"),
        ("GOSSIPREG_HTTP", "8500", "cannot read the port of '8500'"),
    ],
)
def test_a_bad_variable_is_named(variable: str, text: str, sentence: str) -> None:
    assert refusal(environ={variable: text}).startswith(f"{variable}: {sentence}")


def test_a_bad_flag_is_named() -> None:
    assert refusal(flags={"log_format": "xml"}) == "--log-format: 'xml' is neither text nor json"


def test_a_bad_value_is_refused_even_where_a_better_one_outranks_it(tmp_path: Path) -> None:
    assert "'xml'" in refusal(flags={"log_format": "text"}, file=toml(tmp_path, "log_format = 'xml'"))


def test_a_variable_that_resembles_a_setting_is_pointed_out_and_others_are_left_alone() -> None:
    environ = {
        "GOSSIPREG_JION": "a",
        "GOSSIPREG_PROTOCOL_PROBE_INTERVL": "1",
        "GOSSIPREG_CONFIG": "agent.toml",
        "GOSSIPREG_BIND": "127.0.0.1",
        "GOSSIPREG_SERVICE_HOST": "10.0.0.1",
        "GOSSIPREG_PORT_7940_TCP_ADDR": "10.0.0.1",
        "PATH": "/bin",
    }
    assert dict(misspelled_variables(environ)) == {
        "GOSSIPREG_JION": "GOSSIPREG_JOIN",
        "GOSSIPREG_PROTOCOL_PROBE_INTERVL": "GOSSIPREG_PROTOCOL_PROBE_INTERVAL",
    }


def test_every_setting_has_a_variable_of_its_own_and_only_secrets_and_protocol_knobs_lack_a_flag() -> None:
    assert len({setting.variable for setting in SETTINGS.values()}) == len(SETTINGS)
    without = {key for key, setting in SETTINGS.items() if setting.flag is None}
    assert without == {"key", "credential_key"} | {key for key in SETTINGS if key.startswith("protocol.")}


@pytest.mark.parametrize(
    ("flags", "environ", "text", "where"),
    [
        ({"check_targets": ("10.0.0.5/8",)}, {}, "", "--check-targets"),
        ({}, {"GOSSIPREG_CHECK_TARGETS": "private, 10.0.0.5/8"}, "", "GOSSIPREG_CHECK_TARGETS"),
        ({}, {}, 'check_targets = ["10.0.0.5/8"]', "agent.toml: check_targets"),
    ],
)
def test_check_targets_are_read_and_refused_in_every_place(
    tmp_path: Path, flags: dict[str, Any], environ: dict[str, str], text: str, where: str
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(flags, environ, file)
    assert str(caught.value).endswith(f"{where}: '10.0.0.5/8' has bits beyond its mask: write 10.0.0.0/8")
    good = {key: tuple(each.replace(".5/8", ".0/8") for each in value) for key, value in flags.items()}
    file.write_text(text.replace(".5/8", ".0/8"))
    config = load(good, {key: value.replace(".5/8", ".0/8") for key, value in environ.items()}, file)
    assert "10.0.0.0/8" in config.check_targets
