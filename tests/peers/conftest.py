"""Programs of others that several tests run, each fetched and built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.maven import compiled, fetch
from tests.peers.stage import written

#: Clients of both registries: which of them an application has is in its settings.
_SPRING: tuple[str, ...] = (
    "org.springframework.boot:spring-boot-starter-web",
    "org.springframework.cloud:spring-cloud-starter-consul-discovery",
    "org.springframework.cloud:spring-cloud-starter-netflix-eureka-client",
    "org.springframework.cloud:spring-cloud-starter-loadbalancer",
)


@pytest.fixture(scope="session")
def spring_application(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The class path of the pages' application of Spring Cloud, which is ``billing.Application``."""
    directory: Path = tmp_path_factory.mktemp("spring")
    libraries = fetch(directory, _SPRING, spring=True)
    return compiled(directory, "Application", written("clients/spring-cloud-consul.md", "java"), libraries)
