"""A file follows what is known, but not an agent that may know too little."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from gossipreg.errors import TemplateError
from gossipreg.frontends.render.command import Command
from gossipreg.frontends.render.rendering import AgentRun, Rendering, UpdateHeldBack
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
class Renderer:
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
        life = AgentRun(self.clock, self.clock)
        return Rendering(self.cluster.ask, Template(self.directory / "template"), self.file, run, allow_empty, life)

    def restart_agent(self) -> None:
        self.cluster.node["generation"] = int(self.clock.now * 1000)


@pytest.fixture
def renderer(tmp_path: Path) -> Renderer:
    renderer = Renderer(tmp_path)
    renderer.cluster.add("a")
    renderer.cluster.add("b")
    return renderer


def test_the_file_follows(renderer: Renderer) -> None:
    rendering = renderer.rendering()
    assert rendering.update().is_new
    assert renderer.file.read_text() == "a\nb\n"
    assert not rendering.update().is_new
    renderer.cluster.instances.pop()
    assert rendering.update().is_new
    assert renderer.file.read_text() == "a\n"


def test_the_command_runs_once_for_each_change_and_again_if_it_failed(renderer: Renderer) -> None:
    runs, ok = renderer.directory / "runs", renderer.directory / "ok"
    rendering = renderer.rendering(command=f"echo ran >> {runs} && test -e {ok}")
    rendering.update()
    assert not rendering.run_command()
    rendering.update()
    ok.touch()
    assert rendering.run_command()
    assert rendering.run_command()
    assert runs.read_text() == "ran\nran\n"
    renderer.cluster.add("c")
    rendering.update()
    assert rendering.run_command()
    assert runs.read_text() == "ran\nran\nran\n"


def test_it_says_when_what_it_holds_can_change_without_an_event(renderer: Renderer) -> None:
    assert not renderer.rendering().update().look_again
    assert renderer.rendering("{{ instances('orders', all=True) | length }}").update().look_again
    assert renderer.rendering("{{ policies | length }}").update().look_again


def test_a_template_that_fails_leaves_the_file_alone(renderer: Renderer) -> None:
    rendering = renderer.rendering("{{ instances('orders')[0].id }}")
    rendering.update()
    renderer.cluster.instances.clear()
    with pytest.raises(TemplateError):
        rendering.update()
    assert renderer.file.read_text() == "a"


def test_the_last_instance_of_a_service_may_go(renderer: Renderer) -> None:
    rendering = renderer.rendering()
    rendering.update()
    renderer.cluster.instances.clear()
    rendering.update()
    assert renderer.file.read_text() == ""


def test_an_instance_that_a_restarted_agent_does_not_know_stays_until_it_had_its_time(renderer: Renderer) -> None:
    rendering = renderer.rendering()
    rendering.update()
    renderer.restart_agent()
    renderer.cluster.instances.pop()
    renderer.cluster.add("c")
    assert rendering.update().look_again
    assert renderer.file.read_text() == "a\nb\nc\n"
    renderer.clock.now += 9.9
    assert not rendering.update().is_new
    renderer.clock.now += 0.2
    assert not rendering.update().look_again
    assert renderer.file.read_text() == "a\nc\n"


def test_an_instance_that_it_knows_to_be_unwell_does_not_stay(renderer: Renderer) -> None:
    rendering = renderer.rendering()
    rendering.update()
    renderer.restart_agent()
    renderer.cluster.instances.pop()
    renderer.cluster.add("b", health="critical")
    rendering.update()
    assert renderer.file.read_text() == "a\n"


def test_services_that_it_does_not_know_stay_as_long(renderer: Renderer) -> None:
    rendering = renderer.rendering("{% for s in services %}{{ s }} {{ instances(s) | length }}\n{% endfor %}")
    rendering.update()
    renderer.restart_agent()
    renderer.cluster.instances.clear()
    renderer.cluster.add("u", service="users")
    rendering.update()
    assert renderer.file.read_text() == "orders 2\nusers 1\n"
    renderer.clock.now += 10
    rendering.update()
    assert renderer.file.read_text() == "users 1\n"


def test_a_restarted_agent_is_believed_that_instances_are_gone_which_it_has_known(renderer: Renderer) -> None:
    rendering = renderer.rendering()
    rendering.update()
    renderer.restart_agent()
    rendering.update()
    renderer.cluster.instances.pop()
    rendering.update()
    assert renderer.file.read_text() == "a\n"
    renderer.cluster.instances.pop()
    rendering.update()
    assert renderer.file.read_text() == ""


@pytest.mark.parametrize("template", [TEMPLATE, "{% for each in services %}{{ each }}{% endfor %}"])
def test_what_an_earlier_run_wrote_is_not_emptied_for_an_agent_that_has_just_been_started(
    template: str, renderer: Renderer
) -> None:
    renderer.file.write_text("old")
    renderer.restart_agent()
    renderer.cluster.instances.clear()
    rendering = renderer.rendering(template)
    with pytest.raises(UpdateHeldBack, match=r"has just been started, and knows no instance of (orders|any service)"):
        rendering.update()
    assert renderer.file.read_text() == "old"
    renderer.clock.now += 10
    rendering.update()
    assert renderer.file.read_text() == ""


def test_a_service_that_was_empty_before_holds_nothing_back(renderer: Renderer) -> None:
    rendering = renderer.rendering(TEMPLATE + "{{ instances('missing') | length }}")
    rendering.update()
    renderer.restart_agent()
    renderer.cluster.add("c")
    rendering.update()
    assert renderer.file.read_text() == "a\nb\nc\n0"


@pytest.mark.parametrize(
    "trouble", [Renderer.restart_agent, lambda renderer: renderer.cluster.node.update(isolated=True)]
)
def test_empty_is_believed_where_it_is_allowed_or_there_was_nothing(
    trouble: Callable[[Renderer], None], renderer: Renderer
) -> None:
    trouble(renderer)
    renderer.cluster.instances.clear()
    renderer.rendering().update()
    assert renderer.file.read_text() == ""
    renderer.file.write_text("old")
    renderer.rendering(allow_empty=True).update()
    assert renderer.file.read_text() == ""


def test_an_isolated_agent_is_believed_all_but_that_nothing_is_left(renderer: Renderer) -> None:
    rendering = renderer.rendering()
    rendering.update()
    renderer.cluster.node["isolated"] = True
    renderer.cluster.instances.pop()
    rendering.update()
    assert renderer.file.read_text() == "a\n"
    renderer.cluster.instances.pop()
    with pytest.raises(UpdateHeldBack, match="hears no other member, and knows no instance of orders"):
        rendering.update()
    assert renderer.file.read_text() == "a\n"


def test_an_instance_that_a_restarted_agent_has_not_known_stays_while_it_is_isolated(renderer: Renderer) -> None:
    rendering = renderer.rendering()
    rendering.update()
    renderer.restart_agent()
    renderer.cluster.node["isolated"] = True
    renderer.cluster.instances.pop()
    renderer.clock.now += 3600
    rendering.update()
    assert renderer.file.read_text() == "a\nb\n"
    renderer.cluster.node["isolated"] = False
    rendering.update()
    assert renderer.file.read_text() == "a\n"


def test_an_agent_whose_clock_is_ahead_is_young_for_no_longer_than_others(renderer: Renderer) -> None:
    life = AgentRun(renderer.clock, renderer.clock)
    life.observe({"generation": int((renderer.clock.now + 3600) * 1000)})
    assert life.is_young
    renderer.clock.now += 10
    assert not life.is_young
