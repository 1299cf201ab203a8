"""Two primaries in one view, one with a lower term, and different ones on different nodes, are reported."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import pytest

from gossipreg.model import FENCED, PRIMARY, Instance
from gossipreg.protocol.outputs import InstancesChanged
from gossipreg.protocol.registry.service_view import ServiceView
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.oracles.primaries import Primaries
from gossipreg_sim.process import Process
from tests.sim.making import run_for
from tests.sim.oracles.watching import offer, texts, watched


def claim(name: str, term: int) -> Instance:
    return attrs.evolve(offer(name), role=PRIMARY, term=term)


def contested() -> tuple[Cluster, Primaries]:
    """Three nodes; n0 claims to be the primary of s, then n2 with a higher term."""
    made, primaries = watched(Primaries)
    made.register("n0", claim("one", 1))
    run_for(made, 1)
    made.register("n2", claim("two", 2))
    run_for(made, 1)
    primaries.context.healed_in = 1.0
    return made, primaries


def show(process: Process, roles: Mapping[str, str | None]) -> None:
    """Make a node show these instances of s in these roles."""
    services = process.engine.view._services
    shown = tuple(attrs.evolve(each, role=roles.get(each.id)) for each in services["s"].instances)
    services["s"] = ServiceView.of(services["s"].index, shown)


def test_one_primary_on_all_nodes_passes() -> None:
    _made, primaries = contested()
    primaries.finish()
    assert primaries.checks > 10
    assert texts(primaries) == []


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ({"one": PRIMARY, "two": PRIMARY}, "shows one in term 1 and two in term 2 as the primary of s"),
        ({"one": PRIMARY, "two": FENCED}, "shows one in term 1 as the primary of s, not term 2"),
        ({"one": FENCED, "two": FENCED}, "shows none as the primary of s, not term 2"),
    ],
)
def test_two_primaries_none_or_one_with_a_lower_term_are_reported(roles: dict[str, str], said: str) -> None:
    made, primaries = contested()
    n1 = made.processes["n1"]
    show(n1, roles)
    primaries.see(n1, InstancesChanged(("s",)))
    assert texts(primaries)[0] == said


def test_different_primaries_on_two_nodes_are_reported_unless_a_node_is_separated() -> None:
    made, primaries = contested()
    show(made.processes["n1"], {"one": PRIMARY, "two": FENCED})
    primaries.context.outside = ("n2",)
    primaries.finish()
    assert texts(primaries) == []
    primaries.context.outside = ()
    primaries.finish()
    shown = "shows [('s', 'n0', 'one', 1)] as primaries"
    assert texts(primaries) == [
        f"{shown}, but higher terms were shown before",
        f"{shown}, and n0 [('s', 'n2', 'two', 2)]",
    ]


def test_a_lower_term_than_before_is_reported_even_if_the_higher_one_is_gone() -> None:
    made, primaries = contested()
    made.deregister("n2", "two")
    run_for(made, 1)
    assert texts(primaries) == []
    n1 = made.processes["n1"]
    show(n1, {"one": PRIMARY})
    primaries.see(n1, InstancesChanged(("s",)))
    assert texts(primaries) == ["shows one in term 1 as the primary of s after term 2"]


@pytest.mark.parametrize(
    ("disk", "seen"), [(True, ["shows one in term 1 as the primary of s after term 2"]), (False, [])]
)
def test_a_restart_without_the_disk_starts_anew(disk: bool, seen: list[str]) -> None:
    made, primaries = contested()
    made.crash("n1")
    made.start("n1", disk=disk)
    n1 = made.processes["n1"]
    run_for(made, 1)
    primaries._shown.pop(("n1", "s"), None) if not disk else None
    show(n1, {"one": PRIMARY, "two": None})
    primaries.see(n1, InstancesChanged(("s",)))
    assert texts(primaries) == seen


def test_a_service_of_replicas_only_needs_no_primary() -> None:
    made, primaries = watched(Primaries)
    made.register("n0", attrs.evolve(offer("one"), role="replica", term=3))
    run_for(made, 1)
    primaries.finish()
    assert texts(primaries) == []


def test_without_a_claim_the_oracle_does_not_apply() -> None:
    _made, primaries = watched(Primaries)
    primaries.finish()
    assert primaries.note == "not applicable here: no instance claimed to be a primary"
