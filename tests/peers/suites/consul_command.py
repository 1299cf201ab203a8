"""A stand-in for the ``consul`` command: starts our agent from the configuration that Consul's test suites write.

The suites look for ``consul`` on the PATH. They run ``consul version -format=json``, then ``consul agent -config-file
FILE``, and end it by SIGINT. `write_command` makes such a program. It turns into our agent, so signals and the exit
status are the agent's own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

#: The version that the suites are told. It is that of `agent/self`.
VERSION: Final = "1.18.0"

#: If this variable is set, the agent offers the service ``consul``, as Consul's servers do.
OFFERS_CONSUL: Final = "SUITE_OFFERS_CONSUL"


def write_command(directory: Path) -> Path:
    """Write an executable ``consul`` into ``directory``, which goes to the front of the PATH; returns the file."""
    command = directory / "consul"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "$@"\n')
    command.chmod(0o755)
    return command


def agent_arguments(config: dict[str, Any]) -> list[str]:
    """The arguments of `gossipreg agent` that mean the same as a configuration of Consul's test suites.

    What has no meaning here (raft, Connect, peering, ACLs) is left out: no test that is about it is run.
    """
    ports = config.get("ports", {})
    host = config.get("bind_addr") or "127.0.0.1"
    http = (config.get("addresses") or {}).get("http") or f"{host}:{ports['http']}"
    arguments = [
        f"--name={config['node_name']}",
        f"--cluster={config.get('datacenter') or 'dc1'}",
        f"--bind={host}:{ports.get('serf_lan', 0)}",
        f"--http={http.replace('unix://', 'unix:')}",
        f"--dns={host}:{ports['dns']}" if ports.get("dns") else "--dns=off",
        "--check-targets=any",
    ]
    if config.get("enable_script_checks"):
        arguments.append("--command-checks=api")
    arguments += [f"--node-meta={key}={value}" for key, value in (config.get("node_meta") or {}).items()]
    if config.get("data_dir"):
        arguments.append(f"--data-dir={config['data_dir']}")
    return arguments + [f"--join={each}" for each in config.get("retry_join") or ()]


def main(arguments: Sequence[str]) -> None:
    """Answer as ``consul`` would, or turn into our agent."""
    match list(arguments):
        case ["version", *_]:
            sys.stdout.write(json.dumps({"Version": VERSION}))
        case ["agent", "-config-file", file, *_]:
            config = json.loads(Path(file).read_text())
            command = [sys.executable, "-m", "gossipreg", "agent", *agent_arguments(config)]
            if OFFERS_CONSUL in os.environ:
                own = Path(file).with_name("consul.toml")
                own.write_text(f'[[services]]\nservice = "consul"\nport = {config["ports"]["server"]}\n')
                command.append(f"--config={own}")
            os.execv(sys.executable, command)
        case _:
            sys.exit(f"this stand-in for consul knows no {' '.join(arguments)!r}")


if __name__ == "__main__":
    main(sys.argv[1:])
