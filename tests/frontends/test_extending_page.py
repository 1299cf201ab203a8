"""Every example of docs/extending.md works: it is added, and does what the page says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from gossipreg.errors import NoInstance
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.serving.compatibility_api import GROUP, load
from gossipreg.model import Address, Health
from gossipreg_sim import runner
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.oracles.oracle import Oracle
from tests.frontends.fake_node import FakeNode
from tests.sim.making import scenario

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
API, CHOOSER, CHECK, ORACLE, FAULT = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
[PROJECT] = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def defined(text: str) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "example"}
    exec(text, space)
    return space


async def test_a_package_brings_a_compatibility_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    [(name, place)] = tomllib.loads(PROJECT)["project"]["entry-points"][GROUP].items()
    (tmp_path / f"{place.partition(':')[0]}.py").write_text(API)
    info = tmp_path / "plain-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plain\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {place}\n")
    monkeypatch.syspath_prepend(tmp_path)
    node = FakeNode()
    await node.register("orders", port=80, id="a")

    async def serve(*, task_status: trio.TaskStatus[Any]) -> None:
        listen = Address("127.0.0.1", 0)
        await serve_http(node, listen, leave=lambda: None, compatibility_apis=load((name,)), task_status=task_status)

    bound: Address = await nursery.start(serve)
    async with httpx.AsyncClient(base_url=f"http://{bound}", trust_env=False) as client:
        found = await client.get("/plain/orders")
        assert (found.status_code, found.text) == (200, f"{node.own('a').address}\n")  # type: ignore[union-attr]
        assert (await client.get("/plain/nothing")).status_code == 404
        assert (await client.put("/plain/orders")).status_code == 405
        assert (await client.get("/api/v1/node")).status_code == 200


async def test_a_chooser_reads_a_node() -> None:
    node = FakeNode()
    chooser = defined(CHOOSER)["ReadWriteChooser"](node, "db")
    with pytest.raises(NoInstance):
        chooser.choose(write=False)
    await node.register("db", port=1, id="p", role="primary")
    assert chooser.choose(write=False).id == chooser.choose(write=True).id == "p"
    await node.register("db", port=2, id="r", role="replica")
    assert (chooser.choose(write=False).id, chooser.choose(write=True).id) == ("r", "p")


async def test_a_check_kind_is_a_runner(tmp_path: Path) -> None:
    class FileCheck:
        file = str(tmp_path / "there")

    run = defined(CHECK)["run_file"]
    assert (await run(FileCheck, None)).health is Health.CRITICAL
    await trio.Path(FileCheck.file).touch()
    assert (await run(FileCheck, None)).health is Health.PASSING


def test_an_oracle_judges_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    oracle: type[Oracle] = defined(ORACLE)["NothingToOneself"]
    monkeypatch.setattr(runner, "ORACLES", (oracle,))
    outcome = runner.run_scenario(scenario(), 1)
    assert outcome.checks["NothingToOneself"] > 100
    assert not outcome.violations


def test_a_fault_is_a_condition_on_links() -> None:
    condition = defined(FAULT)["EveryOther"]()

    def attach(cluster: Cluster) -> None:
        cluster.network.begin("every other", condition)

    runner.run_scenario(scenario(duration=4.0), 1, attach=attach)
    assert max(condition.seen.values()) > 2


def test_the_page_names_what_there_is() -> None:
    root = Path(__file__).parents[2]
    for path in re.findall(r"`((?:gossipreg|sim|tests|docs)/[\w/.]*)`", PAGE):
        assert (root / path).exists(), path
