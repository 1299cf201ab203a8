"""A split with a panic threshold: lookups on each side return all instances, and after the heal none is stale."""

from __future__ import annotations

import pytest

from gossipreg.model import Instance
from gossipreg.protocol.registry.service_view import ServiceView
from gossipreg_sim import Cluster, World, ns
from gossipreg_sim.conditions import Cut, Links

NAMES = [f"n{number}" for number in range(10)]
FEW, MANY = NAMES[:3], NAMES[3:]


def seen(cluster: Cluster, name: str) -> ServiceView:
    return cluster.processes[name].engine.view.service("orders")


def ids(instances: tuple[Instance, ...]) -> list[str]:
    return [each.id for each in instances]


def split(seed: int) -> tuple[Cluster, str]:
    """Run ten nodes with one instance each, three of them cut off for a minute; return the cluster and its lookups."""
    cluster = Cluster(World(seed=seed))
    for name in NAMES:
        cluster.start(name, seeds=["n0"])
        cluster.register(name, Instance(id=name, service="orders", host="10.0.0.1", port=80, owner=name))
    cluster.world.run(until=ns(5.0))
    cluster.network.begin("split", Cut(Links(FEW, MANY)))
    lookups = []
    for second in range(6, 66):
        cluster.world.run(until=ns(float(second)))
        lookups += [f"{second} {name} {ids(seen(cluster, name).to_call(0.5))}" for name in NAMES]
    return cluster, "\n".join(lookups)


@pytest.fixture(scope="module")
def cut() -> tuple[Cluster, str]:
    return split(1)


def test_the_minority_calls_all_instances_and_the_majority_only_its_own(cut: tuple[Cluster, str]) -> None:
    cluster, _ = cut
    for name in FEW:
        view = seen(cluster, name)
        assert view.lost is not None
        assert (view.lost.share, ids(view.healthy), ids(view.to_call(0.5))) == (0.3, FEW, NAMES)
        assert ids(tuple(each for each in view.to_call(0.5) if each.stale)) == MANY
    for name in MANY:
        view = seen(cluster, name)
        assert view.lost is not None
        assert (view.lost.share, ids(view.to_call(0.5)), ids(view.to_call(0.8))) == (0.7, MANY, NAMES)


def test_enough_instances_are_callable_while_failures_are_declared_one_by_one(cut: tuple[Cluster, str]) -> None:
    for line in cut[1].splitlines():
        assert line.count("'n") >= 5, line


def test_panic_answers_depend_only_on_the_seed(cut: tuple[Cluster, str]) -> None:
    assert split(1)[1] == cut[1]


def test_after_the_split_nothing_is_stale() -> None:
    cluster, _ = split(2)
    cluster.network.end("split")
    cluster.world.run(until=ns(100.0))
    for name in NAMES:
        assert (seen(cluster, name).lost, ids(seen(cluster, name).healthy)) == (None, NAMES)
