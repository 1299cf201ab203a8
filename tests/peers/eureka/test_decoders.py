"""Whatever is posted, the lists of an agent are read whole by the decoders of Netflix, of Spring and of fargo."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import trio

from gossipreg.frontends.eureka.documents import DocumentFormat
from gossipreg.frontends.eureka.instance_document import KEPT
from tests.drills.agents import Agent, open_agents
from tests.peers.eureka.java import needs_java
from tests.peers.eureka.requests import AMAZON, COMPACT, JSON, PLAIN, XML, instance
from tests.peers.results import record

pytestmark = [pytest.mark.peer, pytest.mark.slow]

FARGO: Final = "v1.4.0"

#: How many bodies are posted, of which about half are accepted.
_POSTS: Final = 400

_GO: Final = """
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/hudl/fargo"
)

func main() {
	for _, json := range []bool{false, true} {
		connection := fargo.NewConn(os.Args[1])
		connection.UseJson = json
		apps, err := connection.GetApps()
		if err != nil {
			fmt.Printf("json=%v\\tfailed %v\\n", json, err)
			continue
		}
		var ids []string
		for _, app := range apps {
			for _, instance := range app.Instances {
				ids = append(ids, instance.Id())
			}
		}
		sort.Strings(ids)
		fmt.Printf("json=%v\\tread %s\\n", json, strings.Join(ids, " "))
	}
}
"""

#: Values of any kind, which a client may put anywhere.
_ODD: Final[tuple[Any, ...]] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        7,
        1.5,
        1e300,
        2**31,
        2**63,
        2**70,
        "",
        "x",
        "true",
        " 80 ",
        "\u00e9\n<&>\"'",
        "\x00\u2028",
    ),
    *([], ["x"], [{}], {}, {"a": "b"}, {"$": 5}, {"$": "5", "@enabled": True}, {"@class": "x"}, {"a": {"b": [None]}}),
    *({"@class": PLAIN, "name": "MyOwn"}, {"@class": AMAZON, "name": "Amazon", "metadata": {"a": 1, "two words": "x"}}),
)
_KEYS: Final = (
    *("hostName", "status", "overriddenstatus", "overriddenStatus", "port", "securePort", "countryId", "metadata"),
    *(
        "dataCenterInfo",
        "leaseInfo",
        "homePageUrl",
        "statusPageUrl",
        "healthCheckUrl",
        "vipAddress",
        "secureVipAddress",
    ),
    *("isCoordinatingDiscoveryServer", "lastUpdatedTimestamp", "lastDirtyTimestamp", "actionType", "asgName", "sid"),
    *("secureVipAddress", "another", "lastRenewalTimestamp", "@class", "$"),
)


def bodies(rng: random.Random) -> Iterator[bytes]:
    """Posts with one to three odd fields each, in JSON and in XML, each with an id of its own."""
    for number in range(_POSTS):
        odd = {key: rng.choice(_ODD) for key in rng.sample(_KEYS, rng.randint(1, 3))}
        tree = instance("FUZZ", **{"instanceId": f"id-{number}", **odd})
        if rng.random() < 0.3:
            tree["metadata"] = {
                rng.choice(("a b", "1", "$", "\u00e9", "_-", "a.b", "@c", "<")): rng.choice(("", "<\x01>", "x"))
            }
        if number % 2:
            yield json.dumps({"instance": tree}).encode()
        else:
            yield DocumentFormat.XML.part("instance", tree)


async def fill(agent: Agent) -> set[str]:
    """Post all bodies, and register some instances in other ways; returns the ids that are there then."""
    rng = random.Random(4)
    async with httpx.AsyncClient(base_url=f"http://{agent.http}/eureka/", trust_env=False) as client:
        accepted = 0
        for body in bodies(rng):
            response = await client.post("apps/FUZZ", content=body)
            assert response.status_code in (204, 400), (response.status_code, body)
            accepted += response.status_code == 204
        assert accepted > _POSTS / 4
        await agent.register("native", 80, id="native-1", meta={"two words": "x", "1": "", "_": "\u00e9"}, tags=["a"])
        forged = {"status": "UP", "leaseInfo": {"a": []}, "port": {"$": "x"}, "securePort": {}, "dataCenterInfo": {}}
        await agent.register("native", 81, id="native-2", meta={KEPT: json.dumps(forged | {"hostName": {}, "x": None})})
        document = (await client.get("apps", headers=JSON)).json()
    return {each["instanceId"] for app in document["applications"]["application"] for each in app["instance"]}


async def keep_lists(agent: Agent, directory: Path) -> list[str]:
    """Keep every list in every form as a file."""
    names = []
    async with httpx.AsyncClient(base_url=f"http://{agent.http}/eureka/", trust_env=False) as client:
        for path in ("apps", "apps/delta", "vips/v"):
            for kind, accept in (("json", JSON), ("xml", XML)):
                for form, headers in (("full", {}), ("compact", COMPACT)):
                    response = await client.get(path, headers=accept | headers)
                    name = f"{path.replace('/', '-')}-{form}.{kind}"
                    await trio.Path(directory / name).write_bytes(response.content)
                    names.append(name)
    return names


def run(*command: str | Path, cwd: Path | None = None, timeout: int = 180) -> subprocess.CompletedProcess[str]:
    """A program that ends by itself, and what it wrote."""
    arguments = [str(each) for each in command]
    return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)


@needs_java
async def test_netflix_and_spring_read_every_list_whole(tmp_path: Path, eureka_classes: str) -> None:
    (tmp_path / "agents").mkdir()
    async with open_agents(tmp_path / "agents") as agents:
        alpha = await agents.start("alpha")
        ids = await fill(alpha)
        names = await keep_lists(alpha, tmp_path)
    done = run("java", "-cp", eureka_classes, "Decode", *[tmp_path / name for name in names])
    found = [line.split("\t") for line in done.stdout.splitlines() if line.count("\t") == 2]
    failed = [line for line in found if not line[2].startswith("read ")]
    assert not failed, failed
    read = {(name, decoder): set(text.split()[1:]) for name, decoder, text in found}
    assert {name for name, _ in read} == set(names), done.stderr[-2000:]
    assert len(read) == 3 * (4 + 1 + 2 + 1), "every decoder has read every list of its form"
    for (name, decoder), those in read.items():
        if not name.startswith("vips"):
            assert those == ids, f"{decoder} did not find all in {name}: {sorted(ids ^ those)[:5]}"
    record(
        client="Netflix's and Spring's decoders",
        version="2.0.3",
        api="Eureka",
        did=f"read every list after {_POSTS} odd posts, in every form and with every codec",
    )


@pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed (Debian: golang-go)")
async def test_fargo_reads_every_list_whole(tmp_path: Path) -> None:
    directory = tmp_path / "go"
    directory.mkdir()
    (directory / "main.go").write_text(_GO)
    try:
        run("go", "mod", "init", "program", cwd=directory)
        got = run("go", "get", f"github.com/hudl/fargo@{FARGO}", cwd=directory)
        built_it = run("go", "build", "-o", "program", ".", cwd=directory)
    except subprocess.TimeoutExpired:
        pytest.skip("go did not get fargo within 180 s")
    if got.returncode != 0:
        pytest.skip(f"go cannot get fargo: {got.stderr[-300:]}")
    assert built_it.returncode == 0, built_it.stderr
    (tmp_path / "agents").mkdir()
    async with open_agents(tmp_path / "agents") as agents:
        alpha = await agents.start("alpha")
        ids = await fill(alpha)
        done = await trio.to_thread.run_sync(run, directory / "program", f"http://{alpha.http}/eureka")
    lines = [line for line in done.stdout.splitlines() if line.startswith("json=")]
    assert len(lines) == 2, done
    for line in lines:
        form, _, text = line.partition("\t")
        assert set(text.split()[1:]) == ids, f"{form}: {text[:300]}"
    record(
        client="fargo (Go)",
        version=FARGO,
        api="Eureka",
        did=f"reads every application after {_POSTS} odd posts, in XML and in JSON",
    )
