"""Every option that takes an address refuses hosts that resolvers read in different ways, and names the option."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import click
import pytest

from gossipreg.cli import cli
from tests.cli.conftest import Ran

#: What is an address to some programs, and another or none to others.
AMBIGUOUS = ("127.1", "0x7f.1", "010.0.0.1", "1", "0x7f000001", "1.2.3")

_PROXY = ("proxy", "--service", "orders")
_MIGRATE = ("migrate", "consul", "--from", "http://127.0.0.1:1")

#: Each option that takes an address: the rest of a command line, the option, and how it is written.
OPTIONS: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {
    ("agent", "--bind"): (("agent",), "{}:7940"),
    ("agent", "--advertise"): (("agent",), "{}:7940"),
    ("agent", "--join"): (("agent",), "127.0.0.1:7940,{}"),
    ("agent", "--http"): (("agent",), "{}:8500"),
    ("agent", "--attach"): (("agent",), "{}:7941"),
    ("agent", "--dns"): (("agent",), "{}:8600"),
    ("agent", "--dns-tls"): (("agent",), "{}:853"),
    ("agent", "--check-targets"): (("agent",), "{}"),
    ("proxy", "--listen"): (_PROXY, "{}:9000"),
    ("proxy", "--http"): ((*_PROXY, "--listen", "127.0.0.1:0"), "{}:8500"),
    ("agent", "--issuers"): (("agent", "--identity-cert", "no.cert", "--identity-key", "no.key"), "{}:8500"),
    ("proxy", "--metrics"): ((*_PROXY, "--listen", "127.0.0.1:0"), "{}:9100"),
    ("proxy", "--bind"): ((*_PROXY, "--listen", "127.0.0.1:0"), "{}:7940"),
    ("proxy", "--advertise"): ((*_PROXY, "--listen", "127.0.0.1:0"), "{}:7940"),
    ("proxy", "--join"): ((*_PROXY, "--listen", "127.0.0.1:0"), "{}"),
    ("register", "--host"): (("register", "orders", "--port", "8080"), "{}"),
    ("register", "--check"): (("register", "orders", "--port", "8080"), "http=http://{}:8080/health interval=1s"),
    ("migrate", "--from"): (("migrate", "consul"), "http://{}:8500"),
    ("migrate", "--to"): (_MIGRATE, "{}:8500"),
    ("sim fuzz", "--dask"): (("sim", "fuzz"), "tcp://{}:8786"),
}

#: What stands for an address in the help of an option.
_METAVARS = ("HOST", "ADDRESS", "URL", "TARGET")


def _commands(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from _commands(found, f"{above}{name} ")
        else:
            yield f"{above}{name}", found


def _address_options() -> Iterator[tuple[str, str]]:
    for name, command in _commands(cli):
        for parameter in command.params:
            if isinstance(parameter, click.Option) and any(each in (parameter.metavar or "") for each in _METAVARS):
                yield name, parameter.opts[0]


def test_every_option_that_takes_an_address_is_among_them() -> None:
    found = set(_address_options())
    asking = {each for each in found if each[1] == "--http" and each[0] not in ("agent", "proxy")}
    assert len(asking) > 15, "the commands that ask an agent share one option"
    assert found - asking == OPTIONS.keys()


@pytest.mark.parametrize("host", AMBIGUOUS)
@pytest.mark.parametrize(("command", "option"), [*OPTIONS, ("members", "--http")])
def test_an_ambiguous_host_is_refused_with_the_option(
    run: Callable[..., Ran], command: str, option: str, host: str
) -> None:
    line, form = OPTIONS.get((command, option), ((command,), "{}:8500"))
    ran = run(*line, option, form.format(host))
    assert ran.status in (1, 2)
    assert ran.err.count("\n") == 1, ran.err
    assert option in ran.err
    assert host in ran.err
    assert "no agent answers" not in ran.err


@pytest.mark.parametrize("host", AMBIGUOUS)
@pytest.mark.parametrize("variable", ["GOSSIPREG_HTTP", "GOSSIPREG_AGENT"])
def test_an_ambiguous_host_in_the_environment_is_refused(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, variable: str, host: str
) -> None:
    monkeypatch.setenv(variable, f"{host}:8500")
    ran = run("members")
    assert (ran.status, ran.out) == (2, "")
    assert host in ran.err
