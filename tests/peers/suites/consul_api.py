"""Consul's own Go client's tests, run against our agent: `python -m tests.peers.suites.consul_api` writes the page.

The module is fetched from the Go module proxy, and its tests are built with two changes. They do not wait for a
certificate authority, which is of Connect. What they wait for, such as the started server, may take a minute, where
they would wait for 2 to 10 s: the machine may be busy.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import trio

from tests.peers.stage import DOCS
from tests.peers.suites.classification import FOLDER, Classification, read_classification
from tests.peers.suites.consul_command import OFFERS_CONSUL, write_command
from tests.peers.suites.go_module import TestBinary, build_tests, copy_module, patch, required_version
from tests.peers.suites.page import make_page
from tests.peers.suites.runs import Outcome, Result, run_tests

VERSION: Final = "1.32.1"

PAGE: Final = DOCS / "clients" / "consul-suite.md"

CLASSIFICATION: Final = FOLDER / "consul_api.toml"

_MODULE: Final = "github.com/hashicorp/consul/api"
_SDK: Final = "github.com/hashicorp/consul/sdk"

#: How long the tests wait for the server, and for what it should show (seconds).
_PATIENCE: Final = 60

#: Each package of the module that has tests, and its folder.
_PACKAGES: Final = {"api": "", "api/watch": "watch"}

_INTRODUCTION: Final = f"""# Consul's Go client: its own tests

Made by `python -m tests.peers.suites.consul_api`, and checked by `.ci/run`: a test that this page lists as passed has
to pass. The tests are those of `{_MODULE}` {VERSION}. Where they would start Consul's server, they start
`gossipreg agent`, on the same ports, with the same node name and datacenter.

Two things are changed. They do not wait for Connect's certificate authority, and they wait for up to a minute where
they would wait for 2 to 10 s. Each test runs in a process of its own, and those that fail run twice more. Tests that
count on the service `consul`, which Consul's servers offer, get an agent that offers one.
"""


def prepare(directory: Path) -> dict[str, TestBinary]:
    """Fetch and build the tests in ``directory``; returns them by package. Skips a test that cannot have them."""
    copy = copy_module(directory, _MODULE, VERSION)
    sdk = copy_module(directory, _SDK, required_version(copy, _SDK))  # where the module's go.mod looks for it
    patch(copy / "api_test.go", {"server.WaitForActiveCARoot(t)": "_ = server"})
    patch(
        sdk / "testutil" / "server.go",
        {
            "\n\t\tfailed = false\n": "\n\t\tfailed = false\n\t\tbreak\n",  # answered once is answered
            "StopTimeout:    10 * time.Second": f"StopTimeout:    {_PATIENCE} * time.Second",
        },
    )
    waits = {f"Timeout: {each} * time.Second": f"Timeout: {_PATIENCE} * time.Second" for each in ("2", "7", "30")}
    patch(sdk / "testutil" / "retry" / "retryer.go", waits)
    patch(
        copy / "agent_test.go",
        {"retry.Timer{Timeout: 10 * time.Second": f"retry.Timer{{Timeout: {_PATIENCE} * time.Second"},
    )
    patch(
        copy / "coordinate_test.go",
        {"retry.Timer{Timeout: 5 * time.Second": f"retry.Timer{{Timeout: {_PATIENCE} * time.Second"},
    )
    commands = directory / "commands"
    commands.mkdir()
    write_command(commands)
    return {package: build_tests(copy, package, folder) for package, folder in _PACKAGES.items()}


async def run_relevant(
    directory: Path,
    binaries: Mapping[str, TestBinary],
    classifications: Mapping[str, Classification],
    only: Callable[[str, str], bool] = lambda _package, _test: True,
) -> dict[str, dict[str, Result]]:
    """Run the relevant tests of every package, or those of which ``only`` says so; results by package and test."""
    found: dict[str, dict[str, Result]] = {}
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GOSSIPREG_", "CONSUL_"))}
    clean["PATH"] = f"{directory / 'commands'}{os.pathsep}{clean.get('PATH', '')}"
    for package, binary in binaries.items():
        classes = classifications[package]
        environments = {
            test: {**clean, OFFERS_CONSUL: "yes"} if test in classes.needing_a_service else clean
            for test in classes.relevant
            if only(package, test)
        }
        found[package] = await run_tests(binary, environments)
    return found


def page_of(classifications: Mapping[str, Classification], results: Mapping[str, Mapping[str, Result]]) -> str:
    """The page that a run makes."""
    return make_page(_INTRODUCTION, classifications, results)


def main() -> None:
    """Run the suite and write the page."""
    classifications = read_classification(CLASSIFICATION)
    with tempfile.TemporaryDirectory() as name:
        binaries = prepare(Path(name))
        results = trio.run(run_relevant, Path(name), binaries, classifications)
    PAGE.write_text(page_of(classifications, results))
    for package, of_package in results.items():
        for test, result in of_package.items():
            if result.outcome is not Outcome.PASSED:
                sys.stdout.write(f"{package} {test} {result.outcome}: {result.reason}\n")


if __name__ == "__main__":
    main()
