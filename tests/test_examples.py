"""Every example in the documentation is tried: by the test of its page, or else here.

Commands of ``gossipreg`` are tried by tests/cli/test_docs.py, in whatever shell or console they are.
"""

from __future__ import annotations

import ast
import configparser
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from functools import partial
from inspect import signature
from pathlib import Path
from textwrap import indent
from typing import Any, Final

import attrs
import httpx
import pytest
import trio
import yaml  # type: ignore[import-untyped]

import gossipreg
from gossipreg import Address, open_node
from gossipreg.cli.settings import PREFIX, SETTINGS
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.proxy.settings import load_forwards
from gossipreg.protocol.engine import Engine
from gossipreg_sim import Scenario, run_scenario
from tests.cli.test_docs import commands_in, parse
from tests.runtime.nodes import PATIENCE, config

ROOT: Final = Path(__file__).parents[1]

#: The tests that try all examples of a language on a page: so that none that is there goes untried.
_TRIED: Final = {
    ("cli.md", "bash"): "tests/cli/test_completion.py",
    ("cli.md", "fish"): "tests/cli/test_completion.py",
    ("cli.md", "zsh"): "tests/cli/test_completion.py",
    ("configuration.md", "toml"): "tests/cli/test_docs.py",
    ("credentials.md", "python"): "tests/runtime/test_pages.py",
    ("clients/caddy.md", "caddyfile"): "tests/peers/test_caddy.py",
    ("clients/caddy.md", "jinja"): "tests/peers/test_caddy.py",
    ("clients/consul.md", "go"): "tests/peers/conftest.py",
    ("clients/consul.md", "js"): "tests/peers/consul/test_npm_consul.py",
    ("clients/consul.md", "python"): "tests/peers/consul/test_py_consul.py",
    ("clients/consul-template.md", "gotemplate"): "tests/peers/consul/test_consul_template.py",
    ("clients/consul-template.md", "hcl"): "tests/peers/consul/test_consul_template.py",
    ("clients/envoy.md", "jinja"): "tests/peers/test_envoy.py",
    ("clients/eureka.md", "js"): "tests/peers/eureka/test_eureka_js_client.py",
    ("clients/eureka.md", "properties"): "tests/peers/eureka/test_netflix_client.py",
    ("clients/eureka.md", "python"): "tests/peers/eureka/test_py_eureka_client.py",
    ("clients/go.md", "go"): "tests/peers/consul/test_go_programs.py",
    ("clients/grpc.md", "python"): "tests/peers/test_grpc.py",
    ("clients/haproxy.md", "haproxy"): "tests/peers/test_haproxy.py",
    ("clients/java.md", "java"): "tests/peers/consul/test_java_programs.py",
    ("clients/ansible.md", "yaml"): "tests/peers/consul/test_ansible.py",
    ("clients/rust.md", "rust"): "tests/peers/consul/test_rust_programs.py",
    ("clients/nginx.md", "jinja"): "tests/peers/test_nginx.py",
    ("clients/nginx.md", "nginx"): "tests/peers/test_nginx.py",
    ("clients/python.md", "python"): "tests/peers/consul/test_python_programs.py",
    ("clients/spring-cloud-consul.md", "java"): "tests/peers/consul/test_spring_cloud.py",
    ("clients/spring-cloud-consul.md", "properties"): "tests/peers/consul/test_spring_cloud.py",
    ("clients/spring-cloud-eureka.md", "properties"): "tests/peers/eureka/test_spring_cloud.py",
    ("dns.md", "bind"): "tests/peers/dns_resolvers.py",
    ("dns.md", "corefile"): "tests/peers/dns_resolvers.py",
    ("dns.md", "dnsmasq"): "tests/peers/dns_resolvers.py",
    ("dns.md", "systemd"): "tests/peers/dns_resolvers.py",
    ("dns.md", "unbound"): "tests/peers/dns_resolvers.py",
    ("deploy/README.md", "text"): "tests/deploy/test_kubernetes.py",
    ("embedding.md", "python"): "tests/embed/test_embedding_page.py",
    ("first-cluster.md", "console"): "tests/deploy/test_first_cluster.py",
    ("first-cluster.md", "sh"): "tests/deploy/test_first_cluster.py",
    ("frameworks.md", "python"): "tests/peers/test_frameworks.py",
    ("extending.md", "python"): "tests/frontends/test_extending_page.py",
    ("extending.md", "toml"): "tests/frontends/test_extending_page.py",
    ("http-api.md", "http"): "tests/frontends/http/test_http_api_page.py",
    ("http-api.md", "json"): "tests/frontends/http/test_http_api_page.py",
    ("http-api.md", "text"): "tests/frontends/http/test_http_api_page.py",
    ("health-checks.md", "toml"): "tests/test_health_checks_page.py",
    ("cells.md", "toml"): "tests/cli/test_docs.py",
    ("regions.md", "toml"): "tests/cli/test_docs.py",
    ("http-api.md", "toml"): "tests/cli/test_docs.py",
    ("render.md", "jinja"): "tests/frontends/render/test_render_page.py",
    ("resilience.md", "python"): "tests/embed/test_resilience_page.py",
    ("roles.md", "python"): "tests/runtime/test_pages.py",
    ("simulator.md", "console"): "tests/sim/test_docs.py",
    ("web.md", "nginx"): "tests/peers/test_web_page.py",
    ("simulator.md", "toml"): "tests/sim/test_docs.py",
}


@attrs.frozen
class Example:
    """A fenced block of a page."""

    page: str  # below docs/, or README.md
    language: str
    number: int  # of its language on its page
    text: str

    @property
    def id(self) -> str:
        """Where it is, for people."""
        return f"{self.page} {self.language} {self.number}"


def _examples() -> Iterator[Example]:
    docs = ROOT / "docs"
    for file in (ROOT / "README.md", *sorted(docs.rglob("*.md"))):
        page = file.name if file.parent == ROOT else str(file.relative_to(docs))
        seen: dict[str, int] = {}
        for language, text in re.findall(r"^```(\w+)\n(.*?)^```", file.read_text(), re.DOTALL | re.MULTILINE):
            yield Example(page, language, seen.get(language, 0), text)
            seen[language] = seen.get(language, 0) + 1


EXAMPLES: Final = tuple(_examples())


def here(*languages: str) -> list[Any]:
    """The examples in these languages that are tried here."""
    found = [each for each in EXAMPLES if each.language in languages and (each.page, each.language) not in _TRIED]
    return [pytest.param(each, id=each.id) for each in found]


def test_every_example_is_tried_somewhere() -> None:
    kinds = {(each.page, each.language) for each in EXAMPLES}
    assert not set(_TRIED) - kinds, "these are on no page any more"
    languages = {
        "sh",
        "console",
        "python",
        "json",
        "yaml",
        "ini",
        "toml",
        "prometheus",
    }  # by a test below, wherever it is
    assert not {kind for kind in kinds - set(_TRIED) if kind[1] not in languages}


@pytest.mark.parametrize("kind", [pytest.param(kind, id=" ".join(kind)) for kind in _TRIED])
def test_the_test_of_a_page_is_there_and_names_it(kind: tuple[str, str]) -> None:
    test = (ROOT / _TRIED[kind]).read_text()
    page = kind[0]
    assert page in test or "PAGE" in test or "DOCS" in test


# Programs


async def run(text: str, **names: Any) -> None:
    """Run the text as if it stood in an async function that knows these names."""
    space: dict[str, Any] = dict(names)
    exec(compile(f"async def example():\n{indent(text, '    ')}", "example", "exec"), space)
    await space["example"]()


def the(page: str, language: str) -> list[str]:
    """The examples of a page in a language, in their order."""
    return [each.text for each in EXAMPLES if (each.page, each.language) == (page, language)]


def test_every_program_that_is_tried_here_is_on_one_of_these_pages() -> None:
    pages = {each.values[0].page for each in here("python")}
    assert pages == {"README.md", "architecture.md", "health-checks.md", "policies.md", "simulator.md"}


async def test_the_program_in_the_readme_finds_what_it_offers() -> None:
    [text] = the("README.md", "python")
    assert "127.0.0.1:7940" in text
    async with open_node(config("seed")) as seed:
        command = [sys.executable, "-W", "error", "-c", text.replace("127.0.0.1:7940", str(seed.address))]
        with trio.fail_after(2 * PATIENCE):
            ran = await trio.run_process(command, capture_stdout=True)
    instances, address, count = ran.stdout.decode().splitlines()
    assert "service='shop'" in instances
    assert (address, count) == ("127.0.0.1:8081", "1")


async def test_the_program_about_policies_sets_shows_and_removes_them() -> None:
    [text] = the("policies.md", "python")
    printed: list[Any] = []
    async with open_node(config()) as node:
        await run(text, node=node, print=lambda *what: printed.append(what))
        assert [each.key for each in node.policies()] == [
            "maintenance:orders:orders-1",
            "maintenance:orders@web-2:orders-1",
            "weight:orders:orders-1",
        ]
    assert {key for key, *_ in printed} >= {"split:orders"}


async def test_the_programs_about_health_checks_register_beat_and_take_out() -> None:
    async with open_node(config()) as node:
        await node.register("billing", port=9000, id="billing-1", checks=[gossipreg.Check(ttl=30)])
        for text in the("health-checks.md", "python"):
            await run(text, node=node)
        assert [each.id for each in node.lookup("billing")] == ["billing-1"]
        [known] = [each for each in node.checks() if each.check.kind == "http"]
        assert known.check.http == "http://127.0.0.1:8080/health"


def test_the_verbs_in_the_architecture_are_the_engines() -> None:
    [text] = the("architecture.md", "python")
    calls = [each for each in ast.walk(ast.parse(text)) if isinstance(each, ast.Call)]
    assert len(calls) == 3
    for call in calls:
        assert isinstance(call.func, ast.Attribute)
        signature(getattr(Engine, call.func.attr)).bind(
            None, *call.args, **{str(each.arg): None for each in call.keywords}
        )


def test_the_programs_about_the_simulator_hold() -> None:
    short, own = the("simulator.md", "python")
    exec(short, {})
    space: dict[str, Any] = {}
    exec(own, space)
    asked: list[Scenario] = []

    def play(scenario: Scenario) -> Any:
        asked.append(scenario)
        return run_scenario(scenario, seed=1)

    space["test_we_survive_losing_a_zone"](play)
    assert asked == [space["OURS"]]


# Commands of others


@pytest.fixture
async def agent(nursery: trio.Nursery) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a node with an HTTP listener, which offers what the examples speak of."""
    async with open_node(config()) as node:
        await node.register("orders", port=8080)
        await node.register("billing", port=9000, id="billing-1", checks=[gossipreg.Check(ttl=30)])
        serve = partial(serve_http, node, Address("127.0.0.1", 0), leave=lambda: None)
        address = await nursery.start(serve)
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
            yield client


@attrs.frozen
class Curl:
    """What a command line of curl asks for."""

    method: str
    path: str
    body: str | None
    is_endless: bool  # what comes is a stream without an end

    @classmethod
    def read(cls, line: str) -> Curl:
        """The request of one line, which may have these options and no others."""
        method, body, path, is_endless = "GET", None, "", False
        words = iter(shlex.split(line, comments=True)[1:])
        for word in words:
            match word:
                case "-X":
                    method = next(words)
                case "-d":
                    body = next(words)
                case "--unix-socket":
                    next(words)
                case "-N":
                    is_endless = True
                case "-i":
                    pass
                case _:
                    found = re.fullmatch(r"(?:http://)?(?:localhost|127\.0\.0\.1)(?::8500)?(/.*)", word)
                    assert found, word
                    path = found[1]
        return cls(method, path, body, is_endless)


def lines_of(program: str) -> list[str]:
    """The lines of shell that call a program."""
    return [line for each in EXAMPLES if each.language == "sh" for line in each.text.splitlines() if program in line]


@pytest.mark.parametrize("line", [each for each in lines_of("curl ") if each.startswith("curl ")])
async def test_what_curl_is_told_to_ask_is_answered(line: str, agent: httpx.AsyncClient) -> None:
    request = Curl.read(line)
    async with agent.stream(request.method, request.path, content=request.body) as answer:
        assert answer.is_success
        if not request.is_endless:
            assert await answer.aread() or answer.status_code == 204


@pytest.mark.parametrize("line", lines_of(".venv/bin/python "))
def test_a_script_that_is_named_is_there_and_takes_these_options(line: str) -> None:
    _, script, *options = shlex.split(line, comments=True)
    helped = subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {each for each in options if each.startswith("--")} <= set(re.findall(r"--[a-z-]+", helped.stdout))


@pytest.mark.parametrize("line", lines_of("pip install"))
def test_what_pip_is_told_to_install_is_an_extra_of_ours(line: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r'install (?:-q )?(?:-e )?"(?:gossipreg|\.)\[(\w+)\]"', line)) <= set(extras)


@pytest.mark.parametrize("example", here("ini"))
def test_a_unit_of_systemd_calls_what_is_there(example: Example) -> None:
    lines = dict[str, list[str]]()
    for key, value in re.findall(r"^(\w+)=(.*)$", example.text, re.MULTILINE):
        lines.setdefault(key, []).append(value)
    configparser.ConfigParser(strict=False).read_string(example.text)
    calls = [line for key in ("ExecStart", "ExecReload") for line in lines[key] if "gossipreg" in line]
    assert len(calls) == 2
    for line in calls:
        for arguments in commands_in(line.replace("/usr/bin/gossipreg", "gossipreg")):
            parse(arguments)
    settings = {f"{PREFIX}{name.upper()}" for name in SETTINGS} | {f"{PREFIX}CONFIG"}
    assert {word.partition("=")[0] for word in lines["Environment"][0].split()} <= settings


# Data


@pytest.mark.parametrize("example", here("json"))
async def test_a_registration_that_is_shown_is_taken(example: Example, agent: httpx.AsyncClient) -> None:
    answer = await agent.put("/api/v1/instances", content=example.text)
    assert answer.is_success, answer.text


#: The services of the example of TLS server names.
TLS: Final = {"orders", "payments", "website"}


@pytest.mark.parametrize("example", here("toml"))
def test_the_ports_of_a_balancer_can_be_read(example: Example, tmp_path: Path) -> None:
    file = tmp_path / "ports.toml"
    file.write_text(example.text)
    assert {service for each in load_forwards(file, {}) for service in each.services} <= {"orders", "db"} | TLS


@pytest.mark.parametrize("example", here("yaml"))
def test_a_configuration_in_yaml_can_be_read_and_knows_our_labels(example: Example) -> None:
    assert yaml.safe_load(example.text)
    page = (ROOT / "docs" / "metrics.md").read_text()
    labels = set(re.findall(r"^\| `(__meta_gossipreg_\w+?)(?:_KEY)?` \|", page, re.MULTILINE))
    for label in re.findall(r"__meta_gossipreg_\w+", example.text):
        assert label in labels or label.startswith("__meta_gossipreg_meta_")


@pytest.mark.parametrize("example", here("prometheus"))
async def test_the_metrics_that_are_shown_are_those_of_a_node(example: Example, agent: httpx.AsyncClient) -> None:
    answer = await agent.get("/metrics")
    assert set(example.text.splitlines()) <= set(answer.text.splitlines())
