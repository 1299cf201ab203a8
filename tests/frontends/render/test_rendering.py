"""A file follows what is known, but not an agent that may know too little."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from gossipreg.errors import TemplateError
from gossipreg.frontends.render.command import Command
from gossipreg.frontends.render.rendering import HeldBack, Life, Rendering
from gossipreg.frontends.render.template import Template
from tests.frontends.render.cluster import FakeCluster

#: An instance a line; an error if there is none.
TEMPLATE = "{% for each in instances('orders') %}{{ each.id }}\n{% endfor %}"


@attrs.define
class Clock:
    """Stands still unless it is moved."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@attrs.define
class Desk:
    """A rendering, and what it stands on."""

    directory: Path
    cluster: FakeCluster = attrs.field(factory=FakeCluster)
    clock: Clock = attrs.field(factory=Clock)

    @property
    def file(self) -> Path:
        return self.directory / "out"

    def rendering(
        self, template: str = TEMPLATE, command: str | None = None, *, allow_empty: bool = False
    ) -> Rendering:
        (self.directory / "template").write_text(template)
        run = None if command is None else Command(command)
        life = Life(self.clock, self.clock)
        return Rendering(self.cluster.ask, Template(self.directory / "template"), self.file, run, allow_empty, life)

    def restart_agent(self) -> None:
        self.cluster.node["generation"] = int(self.clock.now * 1000)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.cluster.add("a")
    desk.cluster.add("b")
    return desk


def test_the_file_follows(desk: Desk) -> None:
    rendering = desk.rendering()
    assert rendering.update().is_new
    assert desk.file.read_text() == "a\nb\n"
    assert not rendering.update().is_new
    desk.cluster.instances.pop()
    assert rendering.update().is_new
    assert desk.file.read_text() == "a\n"


def test_the_command_runs_once_for_each_change_and_again_if_it_failed(desk: Desk) -> None:
    runs, ok = desk.directory / "runs", desk.directory / "ok"
    rendering = desk.rendering(command=f"echo ran >> {runs} && test -e {ok}")
    rendering.update()
    assert not rendering.tell()
    rendering.update()
    ok.touch()
    assert rendering.tell()
    assert rendering.tell()
    assert runs.read_text() == "ran\nran\n"
    desk.cluster.add("c")
    rendering.update()
    assert rendering.tell()
    assert runs.read_text() == "ran\nran\nran\n"


def test_it_says_when_what_it_holds_can_change_without_an_event(desk: Desk) -> None:
    assert not desk.rendering().update().look_again
    assert desk.rendering("{{ instances('orders', all=True) | length }}").update().look_again
    assert desk.rendering("{{ policies | length }}").update().look_again


def test_a_template_that_fails_leaves_the_file_alone(desk: Desk) -> None:
    rendering = desk.rendering("{{ instances('orders')[0].id }}")
    rendering.update()
    desk.cluster.instances.clear()
    with pytest.raises(TemplateError):
        rendering.update()
    assert desk.file.read_text() == "a"


def test_the_last_instance_of_a_service_may_go(desk: Desk) -> None:
    rendering = desk.rendering()
    rendering.update()
    desk.cluster.instances.clear()
    rendering.update()
    assert desk.file.read_text() == ""


def test_whom_an_agent_that_was_restarted_does_not_know_stays_until_it_had_its_time(desk: Desk) -> None:
    rendering = desk.rendering()
    rendering.update()
    desk.restart_agent()
    desk.cluster.instances.pop()
    desk.cluster.add("c")
    assert rendering.update().look_again
    assert desk.file.read_text() == "a\nb\nc\n"
    desk.clock.now += 9.9
    assert not rendering.update().is_new
    desk.clock.now += 0.2
    assert not rendering.update().look_again
    assert desk.file.read_text() == "a\nc\n"


def test_whom_it_knows_to_be_unwell_does_not_stay(desk: Desk) -> None:
    rendering = desk.rendering()
    rendering.update()
    desk.restart_agent()
    desk.cluster.instances.pop()
    desk.cluster.add("b", health="critical")
    rendering.update()
    assert desk.file.read_text() == "a\n"


def test_services_that_it_does_not_know_stay_as_long(desk: Desk) -> None:
    rendering = desk.rendering("{% for s in services %}{{ s }} {{ instances(s) | length }}\n{% endfor %}")
    rendering.update()
    desk.restart_agent()
    desk.cluster.instances.clear()
    desk.cluster.add("u", service="users")
    rendering.update()
    assert desk.file.read_text() == "orders 2\nusers 1\n"
    desk.clock.now += 10
    rendering.update()
    assert desk.file.read_text() == "users 1\n"


def test_an_agent_that_was_restarted_is_believed_that_those_are_gone_whom_it_has_known(desk: Desk) -> None:
    rendering = desk.rendering()
    rendering.update()
    desk.restart_agent()
    rendering.update()
    desk.cluster.instances.pop()
    rendering.update()
    assert desk.file.read_text() == "a\n"
    desk.cluster.instances.pop()
    rendering.update()
    assert desk.file.read_text() == ""


@pytest.mark.parametrize("template", [TEMPLATE, "{% for each in services %}{{ each }}{% endfor %}"])
def test_what_an_earlier_run_wrote_is_not_emptied_for_an_agent_that_has_just_been_started(
    template: str, desk: Desk
) -> None:
    desk.file.write_text("old")
    desk.restart_agent()
    desk.cluster.instances.clear()
    rendering = desk.rendering(template)
    with pytest.raises(HeldBack, match=r"has just been started, and knows no instance of (orders|any service)"):
        rendering.update()
    assert desk.file.read_text() == "old"
    desk.clock.now += 10
    rendering.update()
    assert desk.file.read_text() == ""


def test_a_service_that_was_empty_before_holds_nothing_back(desk: Desk) -> None:
    rendering = desk.rendering(TEMPLATE + "{{ instances('nobody') | length }}")
    rendering.update()
    desk.restart_agent()
    desk.cluster.add("c")
    rendering.update()
    assert desk.file.read_text() == "a\nb\nc\n0"


@pytest.mark.parametrize("trouble", [Desk.restart_agent, lambda desk: desk.cluster.node.update(isolated=True)])
def test_empty_is_believed_where_it_is_allowed_or_there_was_nothing(
    trouble: Callable[[Desk], None], desk: Desk
) -> None:
    trouble(desk)
    desk.cluster.instances.clear()
    desk.rendering().update()
    assert desk.file.read_text() == ""
    desk.file.write_text("old")
    desk.rendering(allow_empty=True).update()
    assert desk.file.read_text() == ""


def test_an_agent_that_hears_nobody_is_believed_all_but_that_nothing_is_left(desk: Desk) -> None:
    rendering = desk.rendering()
    rendering.update()
    desk.cluster.node["isolated"] = True
    desk.cluster.instances.pop()
    rendering.update()
    assert desk.file.read_text() == "a\n"
    desk.cluster.instances.pop()
    with pytest.raises(HeldBack, match="hears nobody, and knows no instance of orders"):
        rendering.update()
    assert desk.file.read_text() == "a\n"


def test_whom_an_agent_has_not_known_since_it_was_restarted_stays_while_it_hears_nobody(desk: Desk) -> None:
    rendering = desk.rendering()
    rendering.update()
    desk.restart_agent()
    desk.cluster.node["isolated"] = True
    desk.cluster.instances.pop()
    desk.clock.now += 3600
    rendering.update()
    assert desk.file.read_text() == "a\nb\n"
    desk.cluster.node["isolated"] = False
    rendering.update()
    assert desk.file.read_text() == "a\n"


def test_an_agent_whose_clock_is_ahead_is_young_for_no_longer_than_others(desk: Desk) -> None:
    life = Life(desk.clock, desk.clock)
    life.meet({"generation": int((desk.clock.now + 3600) * 1000)})
    assert life.is_young
    desk.clock.now += 10
    assert not life.is_young
