"""The real py-eureka-client registers, discovers and calls, and goes on when its agent is killed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import sys
from pathlib import Path

import pytest

from tests.drills.agents import open_agents
from tests.drills.waiting import eventually
from tests.peers.eureka.application import is_put_through
from tests.peers.eureka.views import shows
from tests.peers.results import record
from tests.peers.stage import adapted, open_stage, running, written

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("py_eureka_client") is None,
        reason="py-eureka-client is not installed (PyPI: py-eureka-client)",
    ),
]

#: What an application would do with it: call another one again and again, and print which one answered.
_APPLICATION = """
import signal, sys, time

signal.signal(signal.SIGTERM, lambda *_: sys.exit())
while True:
    try:
        print("said", eureka_client.do_service("BILLING", "/"), flush=True)
    except Exception as error:
        print("failed", repr(error), flush=True)
    time.sleep(0.1)
"""


#: One that says which applications it sees, its own among them.
_SEER = """
import time

while True:
    print("sees", [app.name for app in eureka_client.get_client().applications.applications], flush=True)
    time.sleep(0.1)
"""


async def test_the_password_in_its_url_is_a_token(tmp_path: Path) -> None:
    token, tokens = "0123456789-abcdefghij", tmp_path / "tokens.toml"
    digest = hashlib.sha256(token.encode()).hexdigest()
    tokens.write_text(f'[[tokens]]\nname = "orders"\ntoken_sha256 = "{digest}"\nscopes = ["read", "write"]\n')
    (tmp_path / "agents").mkdir()
    async with open_agents(tmp_path / "agents") as agents:
        agent = await agents.start("alpha", "--tokens-file", str(tokens))
        places = {
            "http://127.0.0.1:8500": f"http://eureka:{token}@{agent.http}",
            "http://10.0.0.6:8500": f"http://{agent.http}",
            "renewal_interval_in_secs=5": "renewal_interval_in_secs=1",
        }
        program, log = tmp_path / "application.py", tmp_path / "application.log"
        program.write_text(adapted(written("clients/eureka.md", "python"), places) + _SEER)

        async def sees_itself() -> None:
            assert log.read_text().splitlines()[-1:] == ["sees ['ORDERS']"]

        async with running(log, sys.executable, program):
            await eventually(sees_itself)
        assert " 401 " not in log.read_text()


async def test_it_works_as_the_page_says_and_outlives_its_agent(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        await stage.offer(stage.gamma, "one", service="billing")
        places = {
            "127.0.0.1:8500": stage.beta.http,
            "10.0.0.6:8500": stage.alpha.http,
            "renewal_interval_in_secs=5": "renewal_interval_in_secs=1",
            "duration_in_secs=15": "duration_in_secs=3",
        }
        program, log = tmp_path / "application.py", tmp_path / "application.log"
        program.write_text(adapted(written("clients/eureka.md", "python"), places) + _APPLICATION)
        id_ = "127.0.0.1:orders:8080"

        async def calls(name: str) -> None:
            assert f"said {name}" in log.read_text().splitlines()[-3:]

        async with running(log, sys.executable, program):
            seconds = await is_put_through(stage, id_, calls)
        await shows(stage.alpha, "ORDERS", {id_: "DOWN"})
    version = importlib.metadata.version("py-eureka-client")
    did = "registers, renews, discovers by deltas and calls; its agent killed, it registers with the next one"
    record(
        client="py-eureka-client",
        version=version,
        api="Eureka",
        did=did,
        weights="taken from its metadata; not used in its own calls",
        seconds=seconds,
    )
