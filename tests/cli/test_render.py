"""Render keeps a file true to what the agent says, and says in a line what keeps it from that."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from gossipreg.cli.client import AgentClient
from gossipreg.cli.run_render import RenderLoop
from gossipreg.frontends.render.answers import KeptAnswers
from gossipreg.frontends.render.rendering import Rendering
from gossipreg.frontends.render.template import Template
from tests.cli.conftest import Ran
from tests.cli.fake_agent import INSTANCE, FakeAgent

IDS = "{% for each in instances('orders') %}{{ each.id }} {% endfor %}"

#: How long anything may take (seconds).
PATIENCE = 60.0


@pytest.fixture
def template(tmp_path: Path) -> Path:
    file = tmp_path / "template.j2"
    file.write_text(IDS)
    return file


@attrs.define
class Kept:
    """A file that is kept by a `gossipreg render` of its own, and a fake agent whose events a test gives."""

    fake: FakeAgent
    template: Path
    events: queue.Queue[tuple[str, Any]] = attrs.field(factory=queue.Queue)
    process: subprocess.Popen[str] | None = None

    @property
    def file(self) -> Path:
        return self.template.parent / "out"

    def start(self, *flags: str, http: str = "") -> None:
        command = [sys.executable, "-m", "gossipreg", "render", str(self.template), "--out", str(self.file)]
        self.fake.streams.append(iter(self.events.get, ("end", None)))
        self.process = subprocess.Popen(
            [*command, "--http", http or self.fake.address, *flags], stderr=subprocess.PIPE, text=True
        )

    def ring(self) -> None:
        self.events.put(("instance-changed", INSTANCE))

    def says(self, words: str) -> str:
        """The next line of its log with these words."""
        assert self.process is not None
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if words in line:
                return line
        raise AssertionError(f"it ended without a word of {words!r}")

    def becomes(self, text: str) -> None:
        """Wait until the file has this content."""
        until = time.monotonic() + PATIENCE
        while not (self.file.exists() and self.file.read_text() == text):
            assert time.monotonic() < until, self.file.exists() and self.file.read_text()
            time.sleep(0.01)

    def end(self) -> None:
        self.events.put(("end", None))
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def kept(fake: FakeAgent, template: Path) -> Iterator[Kept]:
    kept = Kept(fake, template)
    try:
        yield kept
    finally:
        kept.end()


def test_it_follows_the_agent_until_it_is_told_to_end(kept: Kept, fake: FakeAgent) -> None:
    kept.start("--exec", "echo told", "--interval-min", "10ms")
    kept.ring()
    assert "1 of orders" in kept.says("is written")
    assert kept.file.read_text() == "orders-1 "
    assert kept.says("echo told: told")
    fake.instances["orders-2"] = INSTANCE | {"id": "orders-2"}
    kept.ring()
    kept.becomes("orders-1 orders-2 ")
    assert kept.process is not None
    kept.process.send_signal(signal.SIGTERM)
    assert kept.process.wait(PATIENCE) == 0


def test_what_changes_within_the_interval_is_rendered_together(
    fake: FakeAgent, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = AgentClient.at(fake.address)
    answers, file = KeptAnswers(agent.get), tmp_path / "out"
    loop = RenderLoop(agent, answers, Rendering(answers, Template(template), file, None, False), interval=7.0)
    written: list[str] = []

    class Ended(threading.Event):
        """What the loop waits for after each rendering. Five more instances come during the first wait."""

        def wait(self, timeout: float | None = None) -> bool:
            assert timeout == 7.0
            written.append(file.read_text())
            for number in range(2, 7) if len(written) == 1 else ():
                fake.instances[f"orders-{number}"] = INSTANCE | {"id": f"orders-{number}"}
                answers.heard("instance-changed", INSTANCE)
                loop._changed.set()
            if len(written) == 2:
                self.set()
            return self.is_set()

    loop._ended = Ended()
    loop._changed.set()
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(RenderLoop, "_follow", lambda _: None)
    loop.run()
    assert written == ["orders-1 ", "orders-1 orders-2 orders-3 orders-4 orders-5 orders-6 "]


def test_what_no_event_tells_of_is_looked_at_now_and_then(kept: Kept, fake: FakeAgent) -> None:
    kept.template.write_text("{{ instances('orders', all=True)[0].health }}")
    kept.start("--interval-min", "10ms")
    kept.ring()
    kept.becomes("passing")
    fake.instances["orders-1"] = INSTANCE | {"health": "maintenance"}
    kept.becomes("maintenance")


def test_a_template_that_stops_working_leaves_the_file_and_is_read_anew(kept: Kept, fake: FakeAgent) -> None:
    kept.start("--interval-min", "10ms")
    kept.ring()
    kept.becomes("orders-1 ")
    kept.template.write_text("\n{{ nonsense }}")
    kept.ring()
    assert kept.says(f"{kept.template}, line 2: 'nonsense' is undefined; the file stays as it is")
    assert kept.file.read_text() == "orders-1 "
    kept.template.write_text("mended")
    assert kept.process is not None
    kept.process.send_signal(signal.SIGHUP)
    kept.becomes("mended")


def test_it_waits_for_an_agent_that_is_not_there_and_keeps_the_file_when_it_goes(template: Path) -> None:
    with FakeAgent() as fake:
        address = fake.address
    kept = Kept(fake, template)
    kept.file.write_text("old")
    try:
        kept.start(http=address)
        assert kept.says(f"no agent answers at {address}: start one with")
        assert kept.file.read_text() == "old"
    finally:
        kept.end()


def test_once_renders_and_ends(fake: FakeAgent, ask: Callable[..., Ran], template: Path, tmp_path: Path) -> None:
    assert ask("render", str(template), "--once") == Ran(0, "orders-1 ", "")
    out = tmp_path / "out"
    assert ask("render", str(template), "--once", "--out", str(out), "--exec", f"cp {out} {out}2").status == 0
    assert (out.read_text(), (tmp_path / "out2").read_text()) == ("orders-1 ", "orders-1 ")
    ran = ask("render", str(template), "--once", "--out", str(tmp_path / "out3"), "--exec", "false")
    assert (ran.status, ran.err.splitlines()[-1]) == (
        1,
        f"gossipreg: {tmp_path / 'out3'} is written, but its command failed: see above",
    )


def test_once_fails_in_a_line_without_an_agent(run: Callable[..., Ran], template: Path, tmp_path: Path) -> None:
    with FakeAgent() as fake:
        address = fake.address
    for out in ([], ["--out", str(tmp_path / "out")]):
        ran = run("render", str(template), "--once", "--http", address, *out)
        assert (ran.status, ran.out) == (1, "")
        assert ran.err.startswith(f"gossipreg: no agent answers at {address}")
    assert not (tmp_path / "out").exists()


def test_a_wrong_template_ends_it_at_once(ask: Callable[..., Ran], template: Path, tmp_path: Path) -> None:
    template.write_text("\n{% fr %}")
    for flags in (["--once"], ["--out", str(tmp_path / "out")]):
        ran = ask("render", str(template), *flags)
        assert (ran.status, ran.err) == (1, f"gossipreg: {template}, line 2: Encountered unknown tag 'fr'.\n")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ((), "--out FILE is missing: name the file to keep, or print the text with --once"),
        (("--once", "--exec", "true"), "--exec goes with --out FILE: without one nothing is changed"),
        (("--once", "--interval-min", "soon"), "'soon' is not a number of seconds, nor one with a unit such as 500ms"),
    ],
)
def test_wrong_flags_are_a_line_and_status_2(
    flags: tuple[str, ...], sentence: str, ask: Callable[..., Ran], template: Path
) -> None:
    ran = ask("render", str(template), *flags)
    assert ran.status == 2
    assert sentence in ran.err


def test_without_jinja2_it_says_what_to_install(
    ask: Callable[..., Ran], template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [
        name
        for name in sys.modules
        if name.startswith(("jinja2", "gossipreg.frontends.render", "gossipreg.cli.run_render"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    ran = ask("render", str(template), "--once")
    assert (ran.status, ran.err) == (
        2,
        'gossipreg: render needs jinja2, which is not installed: pip install "gossipreg[render]"\n',
    )
