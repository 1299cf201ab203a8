"""docs/first-cluster.md, word by word: its commands are run on three hosts, and show what the page says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import pytest

from tests.deploy.hosts import PATIENCE, Host, needs_hosts, open_hosts

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "first-cluster.md"

#: Columns with other values in each run: a busy host is suspected, and refutes it with the next incarnation.
_VARYING: Final = ("started", "incarnation")

#: How long what a console shows may take to be so (seconds).
_SETTLE: Final = 60.0


@attrs.frozen
class Block:
    """Commands of the page."""

    where: tuple[str, ...]  # names of hosts; none: the machine with the repository
    language: str
    text: str


def addresses() -> dict[str, str]:
    return dict(re.findall(r"^\| `([\w-]+)` \| ([\d.]+) \|$", PAGE.read_text(), re.MULTILINE))


def blocks() -> Iterator[Block]:
    marked = r"^<!-- (here|on: [^-,>]+(?:-\d[^-,>]*)*)(?:, [^>]*)? -->\n```(\w+)\n(.*?)^```"
    for where, language, text in re.findall(marked, PAGE.read_text(), re.DOTALL | re.MULTILINE):
        names = tuple(where.removeprefix("on: ").split()) if where != "here" else ()
        yield Block(tuple(addresses()) if names == ("all",) else names, language, text)


def test_each_block_says_where_it_is_run() -> None:
    assert len(list(blocks())) == len(re.findall(r"^```\w+$", PAGE.read_text(), re.MULTILINE))
    assert {name for block in blocks() for name in block.where} == set(addresses())


@attrs.define
class Shell:
    """A shell of root on a host, which stays open: variables and programs in the background stay, too."""

    host: Host
    process: subprocess.Popen[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        environ = {"PATH": "/mnt/tools:/mnt/python/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        environ["LC_ALL"] = "C.UTF-8"
        self.process = subprocess.Popen(
            self.host.within("bash", "-e"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environ,
            cwd="/",
        )
        self.run("cd /root")

    def run(self, text: str) -> str:
        """What the commands print; fails if one of them does."""
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(text + "\necho; echo done-with-it\n")
        process.stdin.flush()
        lines: list[str] = []
        for line in process.stdout:
            if line == "done-with-it\n":
                return "".join(lines)
            lines.append(line)
        pytest.fail(f"on {self.host.name}:\n{text}\n{''.join(lines)}")

    def shows(self, console: str) -> None:
        """Wait until a command prints the rows that the page shows, and no others."""
        command, cells = rows_shown(console)
        deadline = time.monotonic() + _SETTLE
        while True:
            printed = [line.split("\t") for line in self.run(f"{command} 2>&1").splitlines() if line]
            if len(printed) == len(cells) and all(map(is_row, cells, printed)):
                return
            assert time.monotonic() < deadline, f"{command} on {self.host.name} prints {printed}"
            time.sleep(0.2)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()


def rows_shown(console: str) -> tuple[str, list[list[str]]]:
    """The command of a console, and its rows without the columns that differ from one run to the next."""
    command, header, *rows = (re.split(r"\s{2,}", line.strip()) for line in console.removeprefix("$ ").splitlines())
    kept = [index for index, column in enumerate(header) if column not in _VARYING]
    return " ".join(command), [[row[index] for index in kept] for row in rows if not row[0].startswith("─")]


def is_row(shown: list[str], printed: list[str]) -> bool:
    """Whether the cells shown are among those printed, in this order: a page leaves out columns, as a terminal does."""
    rest = iter(printed)
    return all(cell in rest for cell in shown)


MEMBERS: Final = """\
$ gossipreg members
name    address          status   started               incarnation
───────────────────────────────────────────────────────────────────
web-3   10.0.0.13:7940   alive    2026-11-29 19:20:14             0
"""


def test_a_row_is_as_shown_whenever_it_started_and_whatever_was_suspected_of_it() -> None:
    command, [shown] = rows_shown(MEMBERS)
    assert command == "gossipreg members"
    refuted = ["web-3", "10.0.0.13:7940", "alive", "-", "2026-11-30 01:27:35.079", "1", "-"]
    assert is_row(shown, refuted)
    assert not is_row(shown, [*refuted[:2], "suspect", *refuted[3:]])
    assert not is_row(shown, ["web-2", *refuted[1:]])
    assert not is_row(shown, ["web-3", "10.0.0.12:7940", *refuted[2:]])


def furnish(host: Host, dist: Path) -> None:
    """Give a host the packages, and a stand-in for systemd."""
    shutil.copytree(dist, host.root / "root" / "dist")
    tools = host.root / "mnt" / "tools"
    shutil.copy(Path(__file__).with_name("systemctl.py"), tools / "systemctl.py")
    (tools / "systemctl").write_text('#!/bin/sh\nexec /mnt/python/bin/python3 /mnt/tools/systemctl.py /mnt "$@"\n')
    (tools / "systemctl").chmod(0o755)


def install_as_on(other: Host, host: Host) -> None:
    """Give a host what was installed on another one."""
    for place in ("opt/gossipreg", "usr/local/bin/gossipreg"):
        subprocess.run(["cp", "-a", str(other.root / place), str(host.root / place)], check=True, timeout=PATIENCE)


def copy(text: str, name: str, hosts: dict[str, Host]) -> None:
    """Do what the lines with `scp -p` say, which are run in /etc/gossipreg of the host with that name."""
    by_address = {host.address: host for host in hosts.values()}
    for line in text.splitlines():
        *files, target = line.removeprefix("scp -p ").split()
        address, directory = target.removeprefix("root@").split(":")
        for file in files:
            shutil.copy2(hosts[name].root / "etc/gossipreg" / file, by_address[address].root / directory.lstrip("/"))


@pytest.mark.slow
@pytest.mark.netns
@needs_hosts
def test_an_engineer_has_a_sealed_cluster_and_upgrades_it_by_the_page_alone(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split(
        "\n"
    )
    for name in tracked:
        if name.partition("/")[0] in ("gossipreg", "sim", "docs", "pyproject.toml", "README.md", "LICENSE"):
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    with open_hosts(addresses()) as hosts:
        shells: dict[str, Shell] = {}
        try:
            for block in blocks():
                if not block.where:
                    command = block.text.replace("python3", sys.executable)
                    subprocess.run(
                        ["bash", "-ec", command], cwd=clone, check=True, timeout=PATIENCE, capture_output=True
                    )
                    for host in hosts.values():
                        furnish(host, clone / "dist")
                        shells[host.name] = Shell(host)
                    continue
                for name in block.where:
                    if block.language == "console":
                        shells[name].shows(block.text)
                        continue
                    text = block.text.replace("ADDRESS=10.0.0.11", f"ADDRESS={hosts[name].address}")
                    if "scp " in text:  # there is no SSH between these hosts
                        copy(text, name, hosts)
                        continue
                    if "-m venv" in text and name != block.where[0]:  # once is enough: it is the same everywhere
                        install_as_on(hosts[block.where[0]], hosts[name])
                        continue
                    shells[name].run(text)
        finally:
            for shell in shells.values():
                shell.close()
