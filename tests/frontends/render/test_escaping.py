"""Whatever an owner writes is one value in the file, and no two instances get one name."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.frontends.render.escaping import (
    FORMS,
    as_json,
    caddy,
    form_of,
    haproxy,
    nginx,
    quoted,
    shell,
    unique_name,
)
from gossipreg.text import blanked
from tests.frontends.proxy.making import instance

#: What an owner may write, as a template sees it.
texts = st.text().map(blanked)

#: Texts that mean something somewhere.
HOSTILE = [
    *("$http_cookie", "${HOME}", "$(reboot)", "`reboot`", '"; reboot; "', "'; reboot; '", "\\", "a\\", '\\"'),
    *(
        "{{ x }}",
        "}",
        "{",
        ";",
        "#",
        "%[src]",
        "%",
        "a b",
        "",
        "*",
        "~",
        "- a",
        "a: b",
        "!!python/object",
        "&a",
        "null",
    ),
]


@given(texts)
def test_a_shell_reads_the_text_as_one_word(text: str) -> None:
    assert shlex.split(shell(text)) == [text]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_real_shell_reads_the_text_as_one_word(text: str) -> None:
    ran = subprocess.run(["/bin/sh", "-c", f"printf %s {shell(text)}"], capture_output=True, text=True, check=True)
    assert ran.stdout == text


@given(texts)
def test_json_and_yaml_give_the_text_back(text: str) -> None:
    assert json.loads(as_json(text)) == text
    assert yaml.safe_load(f"a: {as_json(text)}") == {"a": text}


def test_tags_and_meta_are_json_as_a_whole() -> None:
    assert as_json(("a", "b")) == '["a", "b"]'
    assert as_json(instance(meta={"k": "v"}).meta) == '{"k": "v"}'
    assert as_json(3) == "3"


@given(st.tuples(texts, texts), st.tuples(texts, texts))
def test_no_two_instances_have_one_name(one: tuple[str, str], other: tuple[str, str]) -> None:
    names = [unique_name(instance("a", id=id, owner=owner)) for id, owner in (one, other)]
    assert (names[0] == names[1]) == (one == other)


def test_a_name_is_readable_where_it_can_be() -> None:
    assert unique_name(instance("web-1", id="orders-8080")) == "orders-8080:web-1"
    assert unique_name(instance("web-1", id="a/1")) == "a_2f1:web-1"
    assert unique_name(instance("web-1", id="a_1")) == "a_5f1:web-1"


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("orders.conf", nginx),
        ("haproxy.cfg", haproxy),
        ("orders.caddy.j2", caddy),
        ("Caddyfile", caddy),
        ("targets.json", as_json),
        ("targets.yml", as_json),
        ("env.sh", shell),
        ("orders.conf.j2", nginx),
        ("orders.j2", quoted),
        ("hosts", quoted),
    ],
)
def test_the_suffix_of_the_file_says_how_a_text_is_quoted_in_it(name: str, form: object) -> None:
    assert form_of(Path("/etc") / name) is form


def test_no_form_lets_a_dollar_through() -> None:
    assert nginx("$http_cookie ${a}") == '"_http_cookie _{a}"'
    assert haproxy("${HOME}") == '"\\${HOME}"'
    assert caddy("{$HOME} {env.HOME} `a`") == "`_$HOME_ _env.HOME_ _a_`"
    assert set(FORMS) == {"nginx", "haproxy", "caddy", "shell", "json", "yaml"}


def test_haproxy_reads_each_text_as_one_word(tmp_path: Path) -> None:
    program = shutil.which("haproxy")
    if program is None:
        pytest.skip("haproxy is not installed (Debian: haproxy)")
    values = [haproxy(f"note {text}".replace("%", "%%")) for text in HOSTILE]
    notes = "".join(f"    http-request set-header X-Note {value}\n" for value in values)
    names = [unique_name(instance(owner, id=id)) for owner, id in (("a/1", "x"), ("a_1", "x"), ("x", "a/1"))]
    servers = "".join(f"    server {name} 127.0.0.1:1\n" for name in names)
    file = tmp_path / "haproxy.cfg"
    file.write_text(
        "defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n"
        f"frontend f\n    bind 127.0.0.1:9000\n{notes}    default_backend b\nbackend b\n{servers}"
    )
    ran = subprocess.run([program, "-c", "-f", str(file)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_nginx_reads_each_text_as_one_parameter(tmp_path: Path) -> None:
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("nginx is not installed (Debian: nginx-light)")
    notes = "".join(f"add_header X-Note {nginx(text)};\n" for text in HOSTILE)
    server = f"server {{ listen 127.0.0.1:9000; {notes} }}"
    file = tmp_path / "nginx.conf"
    file.write_text(f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{ access_log off; {server} }}\n")
    ran = subprocess.run([program, "-t", "-c", str(file)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_caddy_reads_each_text_as_one_token(tmp_path: Path) -> None:
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("caddy is not installed (Debian: caddy)")
    texts = [*HOSTILE, "{$HOME}", "{env.HOME}", "<<END"]
    routes = "".join(f"    header /{number} X-Note {caddy(text)}\n" for number, text in enumerate(texts) if text)
    file = tmp_path / "Caddyfile"
    file.write_text(f"{{\n    admin off\n    auto_https off\n}}\nhttp://127.0.0.1:9000 {{\n{routes}}}\n")
    command = [program, "adapt", "--config", str(file), "--adapter", "caddyfile", "--validate"]
    home = {name: str(tmp_path) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    ran = subprocess.run(command, env=os.environ | home, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    read = {
        int(route["match"][0]["path"][0][1:]): route["handle"][0]["response"]["set"]["X-Note"]
        for route in routes_in(json.loads(ran.stdout))
    }
    disarmed = {
        number: [text.translate(dict.fromkeys(map(ord, "`{}"), "_"))] for number, text in enumerate(texts) if text
    }
    assert read == disarmed


def routes_in(config: object) -> Iterator[Any]:
    """The routes of Caddy that ask for a path, wherever they stand."""
    if isinstance(config, dict):
        if "path" in (config.get("match") or [{}])[0]:
            yield config
        config = list(config.values())
    if isinstance(config, list):
        for each in config:
            yield from routes_in(each)
