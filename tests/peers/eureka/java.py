"""Java programs, built in a temporary directory: Spring Cloud's Eureka server, and the decoders of its clients."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.drills.agents import fixed_address
from tests.drills.waiting import eventually
from tests.peers.stage import running

needs_java = pytest.mark.skipif(
    shutil.which("mvn") is None or shutil.which("javac") is None,
    reason="a JDK or Maven is not installed (Debian: default-jdk-headless maven)",
)

_SOURCES: Final = Path(__file__).parent / "server"


def version() -> str:
    """The release of Spring Cloud whose server it is."""
    found = re.search(
        r"<artifactId>spring-cloud-dependencies</artifactId>\s*<version>(.*?)<", (_SOURCES / "pom.xml").read_text()
    )
    assert found is not None
    return f"Spring Cloud {found[1]}"


def built(directory: Path) -> str:
    """Build the programs below ``directory``; returns the class path. Skips the test if Maven cannot."""
    place = directory / "eureka"
    shutil.copytree(_SOURCES, place)
    command = ["mvn", "-q", "-B", "package", "dependency:copy-dependencies", "-DoutputDirectory=libraries"]
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, timeout=400, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("Maven did not install Spring Cloud's Eureka server within 400 s")
    if done.returncode != 0:
        pytest.skip(f"Maven cannot build Spring Cloud's Eureka server: {done.stdout.decode(errors='replace')[-300:]}")
    return f"{place}/target/classes:{place}/libraries/*"


@asynccontextmanager
async def eureka_server(classes: str, log: Path) -> AsyncIterator[str]:
    """A Eureka server of Spring Cloud's for as long as the block; its URL. It answers without its cache of 30 s."""
    address = fixed_address()
    settings = {
        "server.address": "127.0.0.1",
        "server.port": address.rpartition(":")[2],
        "eureka.client.register-with-eureka": "false",
        "eureka.client.fetch-registry": "false",
        "eureka.server.enable-self-preservation": "false",
        "eureka.server.use-read-only-response-cache": "false",
    }
    options = [f"--{key}={value}" for key, value in settings.items()]
    url = f"http://{address}/eureka"

    async def answers() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                response = await client.get(f"{url}/apps")
            except httpx.HTTPError as error:
                raise AssertionError(str(error)) from None
            assert response.status_code == 200

    async with running(log, "java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", classes, "Server", *options):
        await eventually(answers, within=240)
        yield url
