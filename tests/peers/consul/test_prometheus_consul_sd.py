"""Prometheus's own consul_sd follows a service, and goes on when its agent restarts.

Debian's Prometheus is built without it. So the package is built from Prometheus's Go module, with a program that reads
the page's configuration and prints the targets that Prometheus would have scraped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.peers.applications import Application, offer_orders
from tests.peers.go_programs import build_source
from tests.peers.results import record
from tests.peers.stage import adapted, open_stage, running, written
from tests.peers.suites.go_module import needs_go

pytestmark = [pytest.mark.peer, pytest.mark.slow, needs_go]

VERSION: Final = "0.316.0"

_MODULES: Final = (
    f"github.com/prometheus/prometheus/discovery/consul@v{VERSION}",
    "github.com/prometheus/client_golang/prometheus",
    "go.yaml.in/yaml/v2",
)

_MAIN: Final = """
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"sort"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/consul"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"go.yaml.in/yaml/v2"
)

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var file struct {
		ScrapeConfigs []struct {
			Discovery []*consul.SDConfig `yaml:"consul_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		log.Fatal(err)
	}
	config := file.ScrapeConfigs[0].Discovery[0]
	registry := prometheus.NewRegistry()
	metrics := config.NewDiscovererMetrics(registry, discovery.NewRefreshMetrics(registry))
	discoverer, err := config.NewDiscoverer(discovery.DiscovererOptions{Logger: slog.Default(), Metrics: metrics})
	if err != nil {
		log.Fatal(err)
	}
	groups := make(chan []*targetgroup.Group)
	go discoverer.Run(context.Background(), groups)
	for changed := range groups {
		for _, group := range changed {
			var found []string
			for _, target := range group.Targets {
				if target["__meta_consul_health"] == "passing" {
					found = append(found, string(target["__meta_consul_service_id"]))
				}
			}
			sort.Strings(found)
			fmt.Println("found", strings.Join(found, ","))
		}
	}
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built with the package of the Go module proxy."""
    return build_source(tmp_path_factory, _MAIN, _MODULES)


async def test_it_follows_as_the_page_says_and_outlives_its_agent(tmp_path: Path, program: Path) -> None:
    config, log = tmp_path / "prometheus.yml", tmp_path / "program.log"
    async with open_stage(tmp_path) as stage:
        await offer_orders(stage)
        places = {"127.0.0.1:8500": stage.alpha.http, "refresh_interval: 10s": "refresh_interval: 100ms"}
        config.write_text(adapted(written("clients/prometheus.md", "yaml", 2), places))
        async with running(log, program, config):
            seconds = await Application(log, stage, is_registering=False).is_put_through()
    record(
        client="Prometheus (Go module)",
        version=VERSION,
        api="Consul",
        did="consul_sd: follows a service by blocking queries; asks again 15 s after its killed agent is back",
        seconds=seconds,
    )
