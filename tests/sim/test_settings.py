"""Accepted settings run: no combination that `EngineSettings` accepts raises an exception or makes a node send junk."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from gossipreg.errors import InvalidSetting
from gossipreg.fields import Number, Switch, Whole
from gossipreg.model import Instance, Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.network import Constant
from gossipreg_sim.process import Process
from gossipreg_sim.world import RunawaySimulation, World, ns

#: Limit of events in a run: the shortest intervals make thousands per second.
EVENTS_MAX = 3_000

#: Pairs of which the first must not exceed the second; drawn in order, otherwise few draws would be accepted.
PAIRS = (
    ("probe_timeout", "probe_interval"),
    ("probe_timeout_min", "probe_timeout"),
    ("gossip_coalesce", "gossip_coalesce_max"),
    ("join_retry", "join_retry_max"),
    ("damping_base", "damping_max"),
    ("damping_max", "damping_memory"),
)


def values(field: attrs.Attribute[Any]) -> st.SearchStrategy[Any]:
    """Return the values of a field: its limits, its default, and anything between."""
    kind = field.metadata["kind"]
    match kind:
        case Switch():
            return st.booleans()
        case Whole():
            low, high = int(kind.low), int(kind.high)
            return st.sampled_from((low, high, field.default)) | st.integers(low, high)
        case Number():
            between = st.floats(kind.low, kind.high, exclude_min=kind.above, allow_subnormal=False)
            bounds = (*(() if kind.above else (kind.low,)), kind.high, field.default)
            return st.sampled_from(bounds) | between | st.floats(max(kind.low, 0.001), min(kind.high, 2.0))
    raise AssertionError(field)


@st.composite
def accepted(draw: st.DrawFn) -> EngineSettings:
    """Draw accepted settings, some of them arbitrary."""
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(EngineSettings)
    chosen: list[attrs.Attribute[Any]] = draw(
        st.lists(st.sampled_from(fields), max_size=12, unique_by=lambda field: field.name)
    )
    generated = {field.name: draw(values(field)) for field in chosen}
    whole: dict[str, Any] = {field.name: field.default for field in fields} | generated
    for _ in PAIRS:
        for less, more in PAIRS:
            whole[less], whole[more] = sorted((whole[less], whole[more]))
    try:
        return EngineSettings(**whole)
    except InvalidSetting:
        reject()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(accepted())
def test_accepted_settings_run_through_a_join_a_registration_a_death_and_a_departure(knobs: EngineSettings) -> None:
    made = Cluster(World(1, events_max=EVENTS_MAX), knobs)
    try:
        for name in ("a", "b", "c"):
            made.start(name, seeds=[] if name == "a" else ["a"])
        made.world.run(ns(2.0))
        made.register("b", Instance(id="web", service="web", host="127.0.0.1", port=80))
        made.world.run(ns(4.0))
        made.crash("c", host=True)
        made.world.run(ns(8.0))
        a = made.processes["a"]
        a.act(a.engine.drain(a.now))
        a.act(a.engine.leave(a.now))
        made.world.run(ns(10.0))
    except RunawaySimulation:
        pass
    assert not made.tally["junk_packets"]
    assert not made.tally["junk_messages"]


def suspicions(knobs: EngineSettings, one_way: float) -> int:
    """Return the number of suspicions in a healthy cluster in a minute, with this one-way latency (seconds)."""
    made = Cluster(World(1), knobs, Constant(one_way))
    for name in ("a", "b", "c", "d"):
        made.start(name, seeds=[] if name == "a" else ["a"])
    made.world.run(ns(60.0))
    return made.tally["suspicions"]


def test_distant_nodes_need_the_wan_settings() -> None:
    assert suspicions(EngineSettings.wan(), 0.6) == 0
    assert suspicions(EngineSettings.lan(), 0.6) > 0


def failed_after(knobs: EngineSettings) -> float:
    """Return the time (seconds) until a silent host is believed failed on all nodes."""
    made = Cluster(World(1), knobs)
    for name in ("a", "b", "c", "d"):
        made.start(name, seeds=[] if name == "a" else ["a"])
    made.world.run(ns(5.0))
    made.crash("d", host=True)

    def believed(process: Process) -> Status | None:
        update = process.engine.members.get("d")
        return None if update is None else update.status

    while not all(believed(each) is Status.FAILED for each in made.alive):
        made.world.run(made.world.now + ns(0.1))
    return made.world.seconds - 5.0


def test_local_settings_detect_a_silent_process_sooner() -> None:
    assert failed_after(EngineSettings.local()) < 0.7 * failed_after(EngineSettings.lan())
    assert EngineSettings.lan() == EngineSettings()
    assert EngineSettings.local(gossip_fanout=4).gossip_fanout == 4
    assert EngineSettings.wan(probe_interval=5).probe_interval == 5.0


@given(st.sampled_from([field.name for field in attrs.fields(EngineSettings)]), st.data())
def test_any_value_is_refused_by_name_or_converted_to_the_defaults_type(name: str, data: st.DataObject) -> None:
    numbers = st.integers() | st.floats() | st.sampled_from((0, -1, 1, 10**400, 1e-320, "1", b"1"))
    value = data.draw(st.none() | st.booleans() | numbers | st.text(max_size=5) | st.lists(st.integers(), max_size=2))
    knob: dict[str, Any] = {name: value}
    try:
        made = EngineSettings(**knob)
    except InvalidSetting as refused:
        error = refused
    else:
        assert type(getattr(made, name)) is type(getattr(EngineSettings(), name))
        assert getattr(made, name) == value
        return
    assert f"protocol.{name}" in error.fields
    assert str(error).startswith(f"{error.fields[0]}: ")
    assert "\n" not in str(error)
