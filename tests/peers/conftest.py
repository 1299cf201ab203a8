"""Programs of others that several tests run, each fetched and built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.eureka.java import built
from tests.peers.go_programs import (
    CONSUL_GO_MODULES,
    CONSUL_GO_PLACES,
    CONSUL_TEMPLATE,
    build_command,
    build_program,
)
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


@pytest.fixture(scope="session")
def eureka_classes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The class path of Spring Cloud's Eureka server, and of the decoders of its clients."""
    return built(tmp_path_factory.mktemp("eureka"))


@pytest.fixture(scope="session")
def consul_go_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's program with Consul's own client for Go. It takes the agent's address."""
    return build_program(tmp_path_factory, "clients/consul.md", 0, CONSUL_GO_MODULES, CONSUL_GO_PLACES)


@pytest.fixture(scope="session")
def consul_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, built from the Go module proxy."""
    return build_command(tmp_path_factory, "github.com/hashicorp/consul-template", CONSUL_TEMPLATE)
