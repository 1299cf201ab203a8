"""Which instance is a service's primary."""

from __future__ import annotations

from random import Random

import attrs
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.model import FENCED, PRIMARY, Health, Instance
from gossipreg.protocol.registry.roles import contenders, fenced


def claim(
    id: str, term: int = 0, *, owner: str = "a", health: Health = Health.PASSING, role: str = PRIMARY
) -> Instance:
    return Instance(id=id, service="pg", host="127.0.0.1", port=1, role=role, term=term, owner=owner, health=health)


def roles(*instances: Instance, deprioritized: tuple[str, ...] = ()) -> dict[str, str | None]:
    return {each.id: each.role for each in fenced(instances, deprioritized)}


def test_the_highest_term_is_the_primary_whatever_the_order() -> None:
    old, new = claim("1", 3), claim("2", 4)
    assert roles(old, new) == roles(new, old) == {"1": FENCED, "2": PRIMARY}


def test_a_lower_term_is_not_called_although_the_higher_cannot_serve() -> None:
    assert roles(claim("1", 3), claim("2", 4, health=Health.CRITICAL)) == {"1": FENCED, "2": PRIMARY}


def test_of_equal_terms_one_that_can_serve_is_the_primary() -> None:
    assert roles(claim("1", health=Health.MAINTENANCE), claim("2")) == {"1": FENCED, "2": PRIMARY}


def test_of_equal_terms_one_whose_owner_is_in_doubt_comes_second() -> None:
    assert roles(claim("1", owner="a"), claim("2", owner="b"), deprioritized=("a",)) == {"1": FENCED, "2": PRIMARY}


def test_of_equal_terms_one_in_doubt_that_can_serve_goes_before_one_that_cannot() -> None:
    sick = claim("1", owner="a", health=Health.CRITICAL)
    assert roles(sick, claim("2", owner="b"), deprioritized=("b",)) == {"1": FENCED, "2": PRIMARY}


def test_of_equals_the_first_by_owner_and_then_by_id_is_the_primary() -> None:
    assert roles(claim("1", owner="b"), claim("2", owner="a")) == {"1": FENCED, "2": PRIMARY}
    assert roles(claim("2", owner="a"), claim("1", owner="a")) == {"1": PRIMARY, "2": FENCED}


def test_replicas_are_left_alone() -> None:
    assert roles(claim("1", 9, role="replica"), claim("2"), claim("3", role="replica")) == {
        "1": "replica",
        "2": PRIMARY,
        "3": "replica",
    }


def test_the_primary_comes_first_among_those_that_contend() -> None:
    shown = fenced((claim("1", 3), claim("2", 4), claim("3", role="replica")))
    assert [each.id for each in contenders(shown)] == ["2", "1"]


claims = st.builds(
    claim,
    st.sampled_from("12345"),
    st.integers(0, 3),
    owner=st.sampled_from("abc"),
    health=st.sampled_from(list(Health)),
    role=st.sampled_from([PRIMARY, "replica"]),
)


@given(st.lists(claims, unique_by=lambda each: (each.owner, each.id)), st.randoms(use_true_random=False))
def test_at_most_one_is_the_primary_and_all_nodes_agree_which(instances: list[Instance], rng: Random) -> None:
    shown = fenced(tuple(instances))
    shuffled = list(instances)
    rng.shuffle(shuffled)
    assert set(map(key, shown)) == set(map(key, fenced(tuple(shuffled))))
    assert [each.role for each in shown].count(PRIMARY) == any(each.role == PRIMARY for each in instances)
    assert [attrs.evolve(each, role="") for each in shown] == [attrs.evolve(each, role="") for each in instances]


def key(each: Instance) -> tuple[str, str, str | None]:
    return each.owner, each.id, each.role
