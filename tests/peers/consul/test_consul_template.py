"""A real consul-template renders a service's instances, and goes on when its agent restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.applications import Application, offer_orders
from tests.peers.go_programs import CONSUL_TEMPLATE
from tests.peers.results import record
from tests.peers.stage import adapted, open_stage, running, written
from tests.peers.suites.go_module import needs_go

pytestmark = [pytest.mark.peer, pytest.mark.slow, needs_go]


async def test_it_renders_as_the_page_says_and_outlives_its_agent(tmp_path: Path, consul_template: Path) -> None:
    template, rendered, config = tmp_path / "orders.tpl", tmp_path / "orders.conf", tmp_path / "consul-template.hcl"
    template.write_text(written("clients/consul-template.md", "gotemplate"))
    rendered.touch()
    async with open_stage(tmp_path) as stage:
        await offer_orders(stage)
        places = {
            "127.0.0.1:8500": stage.alpha.http,
            "/etc/orders.tpl": template,
            "/run/orders.conf": rendered,
        }
        config.write_text(adapted(written("clients/consul-template.md", "hcl"), places))
        async with running(tmp_path / "consul-template.log", consul_template, f"-config={config}"):
            seconds = await Application(rendered, stage, is_registering=False).is_put_through()
    record(
        client="consul-template",
        version=CONSUL_TEMPLATE,
        api="Consul",
        did="renders a service's passing instances by blocking queries; goes on when its killed agent is back",
        weights="in the template",
        seconds=seconds,
    )
