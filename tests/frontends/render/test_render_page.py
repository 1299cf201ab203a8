"""The page about rendering says what comes out."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import attrs
import pytest

from gossipreg.frontends.render import command, rendering
from gossipreg.frontends.render.template import Template
from gossipreg.frontends.render.template_data import TemplateData
from gossipreg.model import Instance
from tests.frontends.render.cluster import FakeCluster
from tests.peers.stage import DOCS, written

PAGE = "render.md"


def rendered(number: int, directory: Path) -> str:
    cluster = FakeCluster()
    cluster.add("one/1", port=1, weight=3)
    cluster.add("two", port=2, weight=1000)
    cluster.add("db-1", service="db", host="10.0.0.7", role="primary")
    file = directory / "template"
    file.write_text(written(PAGE, "jinja", number))
    return Template(file).render(TemplateData(cluster.ask))


def test_the_backend_is_haproxys(tmp_path: Path) -> None:
    backend = rendered(0, tmp_path)
    assert backend.splitlines() == [
        "backend orders",
        "    balance roundrobin",
        "    server one_2f1:web-1 127.0.0.1:1 weight 3",
        "    server two:web-1 127.0.0.1:2 weight 256",
    ]
    haproxy = shutil.which("haproxy")
    if haproxy is None:
        pytest.skip("haproxy is not installed (Debian: haproxy)")
    file = tmp_path / "haproxy.cfg"
    timeouts = "defaults\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n"
    file.write_text(f"{timeouts}frontend front\n    bind 127.0.0.1:9000\n    default_backend orders\n{backend}")
    subprocess.run([haproxy, "-c", "-f", str(file)], check=True, capture_output=True)


def test_the_map_has_a_line_for_each_service(tmp_path: Path) -> None:
    assert rendered(1, tmp_path) == "db.example.com db\norders.example.com orders\n"


def test_the_hosts_file_has_the_primary(tmp_path: Path) -> None:
    assert rendered(2, tmp_path) == "127.0.0.1 localhost\n10.0.0.7 db\n"


def test_the_numbers_on_the_page_are_the_limits() -> None:
    page = " ".join((DOCS / PAGE).read_text().split())
    assert f"For {rendering.SETTLE_SECONDS:g} s from its start" in page
    assert f"at most {command.SECONDS_MAX:g} s; then it is killed" in page


def test_every_field_of_an_instance_is_on_the_page() -> None:
    page = (DOCS / PAGE).read_text()
    for field in attrs.fields(Instance):
        assert field.name == "sealed" or f"`{field.name}`" in page
