"""The runbooks of docs/keys.md, word by word: their commands are run on five hosts, and show what the page says."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from importlib.metadata import distribution
from itertools import groupby
from pathlib import Path
from typing import Final

import attrs
import pytest

from gossipreg import authority
from gossipreg.certificate import Certificate
from tests.deploy.hosts import PATIENCE, Host, needs_hosts, open_hosts
from tests.deploy.test_first_cluster import ROOT, Shell

PAGE: Final = ROOT / "docs" / "keys.md"
ADDRESSES: Final = {
    "vault": "10.0.0.10",
    "web-1": "10.0.0.11",
    "web-2": "10.0.0.12",
    "web-3": "10.0.0.13",
    "web-4": "10.0.0.14",
}
AGENTS: Final = ("web-1", "web-2", "web-3")

#: Where the package and what it needs is on a host, and the command.
_LIBRARIES: Final = "opt/gossipreg"
_COMMAND: Final = f"""#!/bin/sh
exec env PYTHONPATH=/{_LIBRARIES} /mnt/python/bin/python3 -m gossipreg "$@"
"""
_SETTINGS: Final = """cluster = "shop"
bind = "{address}:7940"
join = ["10.0.0.11", "10.0.0.12", "10.0.0.13"]
key_file = "/etc/gossipreg/key"
tokens_file = "/etc/gossipreg/tokens.toml"
data_dir = "/var/lib/gossipreg"
"""
_TOKENS: Final = """[[tokens]]
name = "operator"
token_sha256 = "{digest}"
scopes = ["read", "write", "checks", "operator"]
"""
_ALL_JOINED: Final = "web-1.*\n(.*\n)*web-2.*\n(.*\n)*web-3"


@attrs.frozen
class Block:
    """Commands of the page."""

    heading: str
    where: tuple[str, ...]
    language: str
    text: str


def runbooks() -> str:
    """The part of the page with commands that belong together."""
    return PAGE.read_text().partition("\n### Introducing identity\n")[2].partition("\n## How it works\n")[0]


def blocks() -> Iterator[Block]:
    """The marked blocks below the page's heading "Identity"."""
    heading = "Introducing identity"
    marked = r"^(?:### ([^\n]*)|<!-- on: ([^>]*) -->\n```(\w+)\n(.*?)^```)"
    for title, where, language, commands in re.findall(marked, runbooks(), re.DOTALL | re.MULTILINE):
        heading = title or heading
        if where:
            yield Block(heading, tuple(where.split()), language, commands)


def test_each_block_of_the_runbooks_says_where_it_is_run() -> None:
    assert len(list(blocks())) == len(re.findall(r"^```\w+$", runbooks(), re.MULTILINE))
    assert {name for block in blocks() for name in block.where} == set(ADDRESSES)
    assert [title for title, _ in groupby(blocks(), lambda block: block.heading)] == [
        "Introducing identity",
        "A node is compromised, or its key has leaked",
        "A certificate has ended",
        "The authority is compromised",
        "An issuer",
        "A new node",
        "An issuer is compromised",
    ]


def libraries(name: str, extras: tuple[str, ...], found: dict[str, None]) -> dict[str, None]:
    """The names of distributions that an installation has, ``name`` with its extras."""
    for requirement in distribution(name).requires or ():
        needed = re.match(r"[\w.-]+", requirement)
        assert needed is not None
        marker = requirement.partition(";")[2]
        wanted = not marker or any(re.search(f"extra *== *[\"']{each}[\"']", marker) for each in extras)
        if wanted and needed[0] not in found and needed[0] != name:
            try:
                distribution(needed[0])
            except ModuleNotFoundError:
                continue  # for another Python or system
            found[needed[0]] = None
            libraries(needed[0], (), found)
    return found


def install(host: Host) -> None:
    """Give a host the package, what it needs, the command, and a stand-in for systemd."""
    target = host.root / _LIBRARIES
    target.mkdir()
    shutil.copytree(ROOT / "gossipreg", target / "gossipreg", ignore=shutil.ignore_patterns("__pycache__"))
    for name in libraries("gossipreg", ("agent",), {}):
        for file in distribution(name).files or ():
            source, parts = Path(str(file.locate())), Path(str(file))
            if ".." not in parts.parts and source.is_file() and source.suffix != ".pyc":
                (target / parts).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target / parts)
    command = host.root / "usr/local/bin/gossipreg"
    command.write_text(_COMMAND)
    command.chmod(0o755)
    tools = host.root / "mnt" / "tools"
    shutil.copy(Path(__file__).with_name("systemctl.py"), tools / "systemctl.py")
    (tools / "systemctl").write_text('#!/bin/sh\nexec /mnt/python/bin/python3 /mnt/tools/systemctl.py /mnt "$@"\n')
    (tools / "systemctl").chmod(0o755)
    unit = ROOT / "docs" / "deploy" / "systemd" / "gossipreg.service"
    shutil.copy(unit, host.root / "etc/systemd/system/gossipreg.service")


def furnish(hosts: dict[str, Host]) -> None:
    """Give the hosts the package, and the agents a key and their settings."""
    install(hosts["web-1"])
    for name, host in hosts.items():
        if name != "web-1":
            for place in (_LIBRARIES, "usr/local/bin/gossipreg", "etc/systemd/system/gossipreg.service"):
                subprocess.run(["cp", "-a", str(hosts["web-1"].root / place), str(host.root / place)], check=True)
            subprocess.run(["cp", "-a", f"{hosts['web-1'].root}/mnt/tools/.", f"{host.root}/mnt/tools"], check=True)


@attrs.frozen
class Console:
    """The hosts and a shell on each."""

    hosts: dict[str, Host]
    shells: dict[str, Shell]

    def place(self, name: str, path: str) -> Path:
        """The file that ``path`` names on a host, or on another one if it begins with that one's address."""
        address, colon, rest = path.removeprefix("root@").partition(":")
        if colon:
            host = next(host for host in self.hosts.values() if host.address == address)
            return host.root / rest.lstrip("/")
        here = self.shells[name].run("pwd").strip()
        return self.hosts[name].root / here.lstrip("/") / path

    def run(self, name: str, text: str) -> None:
        """Run commands; those that copy files between hosts are done here, as there is no SSH."""
        for is_copy, lines in groupby(text.splitlines(), lambda line: line.startswith("scp ")):
            if not is_copy:
                self.shells[name].run("\n".join(lines))
                continue
            for line in lines:
                source, target = (self.place(name, path) for path in line.removeprefix("scp -p ").split())
                subprocess.run(["cp", "-p", str(source), str(target)], check=True, timeout=PATIENCE)

    def follow(self, block: Block) -> None:
        for name in block.where:
            if block.language == "console":
                self.shells[name].shows(block.text)
            else:
                self.run(name, block.text)

    def until(self, name: str, command: str, holds: str) -> None:
        """Wait until a command prints a line that matches, or none that does if ``holds`` begins with an ``!``."""
        wanted, pattern = not holds.startswith("!"), holds.removeprefix("!")
        deadline = time.monotonic() + PATIENCE / 2
        while (
            bool(re.search(pattern, printed := self.shells[name].run(f"{command} 2>&1 || true"), re.MULTILINE))
            != wanted
        ):
            assert time.monotonic() < deadline, f"{command} on {name} prints {printed}"
            time.sleep(0.3)


def begin(console: Console) -> None:
    """Have a sealed cluster of three, as docs/first-cluster.md makes it."""
    key, token = "", "a-token-that-the-runbooks-never-show"
    tokens = _TOKENS.format(digest=hashlib.sha256(token.encode()).hexdigest())
    for name in AGENTS:
        console.run(name, "groupadd --force --system gossipreg-keys; mkdir -p /etc/gossipreg; cd /etc/gossipreg")
        key = key or console.shells[name].run("gossipreg keygen")
        directory = console.hosts[name].root / "etc/gossipreg"
        (directory / "key").write_text(key)
        (directory / "tokens.toml").write_text(tokens)
        (directory / "agent.toml").write_text(_SETTINGS.format(address=ADDRESSES[name]))
        console.run(name, "chown root:gossipreg-keys key tokens.toml; chmod 640 key tokens.toml")
        console.run(name, f"export GOSSIPREG_TOKEN='{token}'; systemctl enable --now gossipreg; cd /root")
    for name in AGENTS:
        console.until(name, "gossipreg members", _ALL_JOINED)


def end_certificate(console: Console) -> None:
    """Give web-2 a certificate that ends in moments, which the page's commands do not sign, and wait for its end."""
    vault = console.hosts["vault"].root / "root"
    [line] = authority.lines_of((vault / "authority.key").read_text())
    key = authority.decode_authority_key(line, where="the vault")
    [line] = authority.lines_of((vault / "web-2.cert").read_text())
    before = Certificate.read(authority.decode(authority.CERTIFICATE, line, where="the vault"))
    ends = key.renew(before, not_before=int(time.time()) - 3600, not_after=int(time.time()) + 5)
    (vault / "web-2.cert").write_text(authority.encode(authority.CERTIFICATE, ends.data) + "\n")
    console.run("vault", "scp -p web-2.cert root@10.0.0.12:/etc/gossipreg/node.cert")
    console.run("web-2", "systemctl reload gossipreg")
    console.until("web-1", "gossipreg members", "!web-2")


@pytest.mark.slow
@pytest.mark.netns
@needs_hosts
def test_the_runbooks_do_what_they_say() -> None:
    with open_hosts(ADDRESSES) as hosts:
        furnish(hosts)
        console = Console(hosts, {name: Shell(host) for name, host in hosts.items()})
        try:
            begin(console)
            for heading, steps in groupby(blocks(), lambda block: block.heading):
                if heading == "A certificate has ended":
                    end_certificate(console)
                for block in steps:
                    console.follow(block)
                    if "authority_file = " in block.text:
                        for name in AGENTS:
                            console.until(name, "gossipreg info", "!not every member signs")
                    if 'identity = "require"' in block.text:
                        for name in AGENTS:
                            console.until(name, "gossipreg keys list", "identity is `require`$")
                for name in AGENTS:
                    console.until(name, "gossipreg members", _ALL_JOINED)
                    console.until(name, "gossipreg info", r"!^problems\t")
        finally:
            for shell in console.shells.values():
                shell.close()
