"""A service's terms at one node: kept, shown, given and reset."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.errors import InvalidInstance, NodeClosed, NotJoined, UnknownTerm
from gossipreg.model import FENCED, PRIMARY, Instance, Status
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS
from gossipreg.protocol.anti_entropy.reconcile import Compare, End, Listing, Want
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import Output, TermsChanged
from gossipreg.protocol.registry.clock import AHEAD_MAX
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.terms import TermRegister
from tests.protocol.delivering import deliver, receive_over_stream, replies
from tests.protocol.making import BORN, engine, instance, law, said_to, update
from tests.protocol.test_engine import B, C, among


def claim(id_: str, term: int, role: str | None = PRIMARY) -> Instance:
    return instance(id_, service="pg", role=role, term=term)


def said_by(owner: MemberUpdate, *instances: Instance | None) -> list[Record]:
    """What ``owner`` says: it offers each; None removes the one before."""
    registry = Registry(owner.name)
    records: list[Record] = []
    for each in instances:
        if each is None:
            record, _ = registry.delete(records[-1].id, owner.generation)
        else:
            record, _ = registry.offer(each, owner.generation)
        records.append(record)
    return records


def shown(node: Engine, now: float = 6.0) -> dict[str, str | None]:
    node.handle_timeout(now)
    return {each.id: each.role for each in node.view.service("pg").instances}


def terms_changed(outputs: list[Output]) -> list[tuple[str, ...]]:
    return [output.services for output in outputs if isinstance(output, TermsChanged)]


def register_of(node: Engine) -> TermRegister:
    held = node.state.terms.get("pg")
    assert held is not None
    return held


# What it remembers


def test_no_lower_claim_is_the_primary_once_the_highest_is_deregistered() -> None:
    node = among(B)
    node.register(claim("pg-1", 1), 6.0)
    assert terms_changed(node.register(claim("pg-2", 2), 6.0)) == [("pg",)]
    assert shown(node) == {"pg-1": FENCED, "pg-2": PRIMARY}
    node.deregister("pg-2", 6.0)
    assert shown(node) == {"pg-1": FENCED}
    assert node.local_policies.next_term("pg") == 3


def test_nor_once_it_is_a_replica() -> None:
    node = among(B)
    node.register(claim("pg-1", 1), 6.0)
    node.register(claim("pg-2", 2), 6.0)
    node.register(claim("pg-2", 0, "replica"), 6.0)
    assert shown(node) == {"pg-1": FENCED, "pg-2": "replica"}


@pytest.mark.parametrize("end", [Status.LEFT, Status.FAILED])
def test_nor_once_its_owner_is_gone_and_forgotten(end: Status) -> None:
    node = among(B)
    node.register(claim("pg-1", 1), 6.0)
    deliver(node, B, *said_by(B, claim("pg-2", 2)))
    assert shown(node)["pg-1"] == FENCED
    deliver(node, B, update("b", end, port=7001, accuser=B.run_id if end is Status.FAILED else 0))  # it says so itself
    node.handle_timeout(2e5)
    node.handle_timeout(4e5)
    assert node.members.get("b") is None
    assert shown(node, 4e5) == {"pg-1": FENCED}
    assert node.local_policies.next_term("pg") == 3


def test_nor_once_its_owner_came_back_without_it() -> None:
    node = among(B)
    node.register(claim("pg-1", 1), 6.0)
    deliver(node, B, *said_by(B, claim("pg-2", 2)))
    deliver(node, B, update("b", port=7001, generation=BORN + 1))
    assert shown(node) == {"pg-1": FENCED}


def test_an_equal_term_is_as_good() -> None:
    node = among(B)
    node.register(claim("pg-2", 2), 6.0)
    node.deregister("pg-2", 6.0)
    node.register(claim("pg-1", 2), 6.0)
    assert shown(node) == {"pg-1": PRIMARY}


def test_a_stranger_whose_update_has_not_come_raises_the_term_all_the_same() -> None:
    node = among(B)
    node.register(claim("pg-1", 1), 6.0)
    deliver(node, B, *said_by(C, claim("pg-2", 2)))
    assert shown(node) == {"pg-1": FENCED}


def test_a_term_whose_record_never_came_is_told_by_itself() -> None:
    node, teller = among(B), among(B)
    node.register(claim("pg-1", 1), 6.0)
    teller.register(claim("pg-2", 2), 6.0)
    teller.deregister("pg-2", 6.0)
    told = said_to(teller.handle_timeout(6.1), B.address)
    [register] = {each for each in told if isinstance(each, TermRegister)}
    assert register == TermRegister("pg", claimed=2, seen=2)
    assert terms_changed(deliver(node, B, register)) == [("pg",)]
    assert shown(node) == {"pg-1": FENCED}
    assert register in said_to(node.handle_timeout(6.1), B.address)


def test_what_is_known_already_is_no_news() -> None:
    node = among(B)
    deliver(node, B, TermRegister("pg", claimed=2, seen=2))
    assert terms_changed(deliver(node, B, TermRegister("pg", claimed=2, seen=2))) == []
    assert deliver(node, B, TermRegister("pg", claimed=1, seen=1)) == []
    assert terms_changed(receive_over_stream(node, B, TermRegister("pg", claimed=2, seen=2))) == []


def test_a_register_that_no_node_makes_is_counted_and_dropped() -> None:
    node = among(B)
    assert deliver(node, B, TermRegister("pg", claimed=2, seen=1), TermRegister("pg")) == []
    assert node.counters["terms_malformed"] == 2
    assert node.state.terms.get("pg") is None


def test_a_register_beyond_the_room_is_counted_and_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TERMS_MAX", 0)
    node = among(B)
    assert deliver(node, B, TermRegister("pg", claimed=2, seen=2)) == []
    deliver(node, B, *said_by(B, claim("pg-2", 2)))
    assert node.counters["terms_over_limit"] == 2
    assert shown(node) == {"pg-2": PRIMARY}
    with pytest.raises(InvalidInstance, match="as many as are allowed: reset those that are gone"):
        node.register(claim("pg-1", 1), 6.0)


def test_a_term_that_a_replica_states_is_seen_and_fences_no_instance() -> None:
    node = among(B)
    node.register(claim("pg-1", 1), 6.0)
    node.register(claim("pg-2", 9, "replica"), 6.0)
    assert shown(node) == {"pg-1": PRIMARY, "pg-2": "replica"}
    assert node.local_policies.next_term("pg") == 10


def test_terms_kept_over_a_restart_hold_at_once_and_are_not_broadcast() -> None:
    node = among(B)
    outputs = node.recall((), 6.0, terms=[TermRegister("pg", claimed=2, seen=2)])
    assert terms_changed(outputs) == [("pg",)]
    assert not [each for each in said_to(node.handle_timeout(6.1), B.address) if isinstance(each, TermRegister)]
    node.register(claim("pg-1", 1), 6.2)
    assert shown(node, 6.3) == {"pg-1": FENCED}


def test_instances_known_from_before_the_start_are_fenced_too() -> None:
    node = engine(has_seeds=True)
    node.view.recall({"pg": (attrs.evolve(claim("pg-1", 1), stale=True),)})
    assert shown(node) == {"pg-1": PRIMARY}
    node.recall((), 6.0, terms=[TermRegister("pg", claimed=2, seen=2)])
    assert shown(node) == {"pg-1": FENCED}


# How it converges


def test_equal_terms_are_equal_fingerprints_whatever_the_order() -> None:
    said = [TermRegister("pg", claimed=2, seen=2), TermRegister("pg", claimed=1, seen=3)]
    one, other = engine(), engine()
    one.recall((), 6.0, terms=said)
    other.recall((), 6.0, terms=said[::-1])
    assert one.fingerprint == other.fingerprint != engine().fingerprint


def test_a_joiner_is_told_of_the_terms_before_the_records() -> None:
    node = among(B)
    node.register(claim("pg-1", 1), 6.0)
    node.register(claim("pg-2", 2), 6.0)
    told = replies(receive_over_stream(node, B, Compare((0,) * BUCKETS), End()))
    kinds = [type(each) for each in told]
    assert kinds.index(TermRegister) < kinds.index(Record)


def test_who_differs_is_told_of_the_terms_unasked_and_before_what_it_asks_for() -> None:
    node = among(B)
    node.register(claim("pg-1", 1), 6.0)
    told = replies(receive_over_stream(node, B, Compare((1,) * BUCKETS), End()))
    assert isinstance(told[0], TermRegister)
    listing = next(each for each in told if isinstance(each, Listing) and each.digests)
    assert replies(receive_over_stream(node, B, Want(listing.bucket, listing.digests), End()))


# What it gives


def test_a_node_that_has_reached_no_member_gives_no_term_and_resets_none() -> None:
    node = engine(has_seeds=True)
    with pytest.raises(NotJoined, match="it has reached no member yet"):
        node.local_policies.next_term("pg")
    with pytest.raises(NotJoined):
        node.reset_term("pg", 6.0)


@pytest.mark.parametrize("above", [1, 1000, 2**51, 2**52 - 1])
def test_no_user_states_a_term_that_leaves_none_above_it(above: int) -> None:
    node = among(B)
    assert node.local_policies.next_term("pg") == 1
    with pytest.raises(InvalidInstance, match="--term next"):
        node.register(claim("pg-1", limits.TERM_GIVEN_MAX + above), 6.0)
    node.register(claim("pg-1", limits.TERM_GIVEN_MAX), 6.0)
    assert node.local_policies.next_term("pg") == limits.TERM_GIVEN_MAX + 1
    node.register(claim("pg-2", node.local_policies.next_term("pg")), 6.0)
    assert shown(node) == {"pg-1": "fenced", "pg-2": PRIMARY}


# The way down


def reset_to(node: Engine) -> tuple[int, int]:
    return register_of(node).claimed, register_of(node).seen


def test_a_reset_goes_down_to_the_terms_still_stated_and_names_its_writer_and_time() -> None:
    node = among(B)
    node.register(claim("pg-1", 3), 6.0)
    node.register(claim("pg-3", 4, "replica"), 6.0)
    node.register(claim("pg-2", 900), 6.0)
    node.deregister("pg-2", 6.0)
    node.set_wall_clock(BORN + 5000, 6.0)
    assert terms_changed(node.reset_term("pg", 6.0)) == [("pg",)]
    assert (reset_to(node), node.local_policies.next_term("pg")) == ((3, 4), 5)
    assert shown(node) == {"pg-1": PRIMARY, "pg-3": "replica"}
    reset = register_of(node).reset
    assert reset is not None
    assert (reset.writer, reset.ms) == ("a", BORN + 5000)
    assert register_of(node) in said_to(node.handle_timeout(6.1), B.address)


def test_a_reset_is_obeyed_by_nodes_that_receive_it_but_their_own_claims_count() -> None:
    node = among(B)
    node.register(claim("pg-1", 3), 6.0)
    node.register(instance("other"), 6.0)
    deliver(node, B, *said_by(B, claim("pg-2", 900), None))
    assert shown(node) == {"pg-1": FENCED}
    deliver(node, B, TermRegister("pg", BORN, 0, "b"))
    assert shown(node) == {"pg-1": PRIMARY}
    assert register_of(node) == TermRegister("pg", BORN, 0, "b", 3, 3)
    deliver(node, B, TermRegister("pg", claimed=900, seen=900))
    assert shown(node) == {"pg-1": PRIMARY}


def test_a_reset_from_the_far_future_is_counted_and_dropped() -> None:
    node = among(B)
    deliver(node, B, TermRegister("pg", BORN + AHEAD_MAX + 60_000, 0, "b"))
    assert node.counters["terms_from_the_future"] == 1
    assert node.state.terms.get("pg") is None


def test_a_reset_that_was_taken_before_our_clock_was_set_back_is_kept_and_its_terms_still_rise() -> None:
    node = among(B)
    later = TermRegister("pg", BORN + 2 * AHEAD_MAX, 0, "b", 3, 3)
    node.recall((), 6.0, terms=[later])
    assert register_of(node) == later
    deliver(node, B, attrs.evolve(later, claimed=4, seen=4))
    assert reset_to(node) == (4, 4)
    assert node.counters["terms_from_the_future"] == 0


def test_there_is_nothing_to_reset_where_no_term_was_stated_and_on_a_node_that_left() -> None:
    node = among(B)
    with pytest.raises(UnknownTerm, match="'pg' is known"):
        node.reset_term("pg", 6.0)
    node.leave(6.0)
    with pytest.raises(NodeClosed):
        node.reset_term("pg", 6.0)


# Over any history


peers = st.sampled_from([B, C])
steps = st.one_of(
    st.tuples(st.just("claim"), peers, st.sampled_from("xy"), st.integers(0, 4), st.sampled_from([PRIMARY, "replica"])),
    st.tuples(st.just("remove"), peers, st.sampled_from("xy")),
    st.tuples(st.just("end"), peers, st.sampled_from([Status.FAILED, Status.LEFT, Status.SUSPECT])),
    st.tuples(st.just("restart"), peers),
    st.tuples(st.just("our restart")),
    st.tuples(st.just("our claim"), st.sampled_from("xy"), st.integers(0, 4)),
    st.tuples(st.just("our removal"), st.sampled_from("xy")),
    st.tuples(st.just("a day")),
)


def history(said: list[tuple[Any, ...]]) -> list[Any]:
    """What peers say in that history, each a message, and what this node's own user does, each a tuple."""
    registries = {peer.name: Registry(peer.name) for peer in (B, C)}
    run_ids = {peer.name: peer for peer in (B, C)}
    told: list[Any] = []
    for what, *about in said:
        if not about or not isinstance(about[0], MemberUpdate):
            told.append((what, *about))
            continue
        name = about[0].name
        run_id, registry = run_ids[name], registries[name]
        table = registry.table(name)
        if what == "claim":
            _, id_, term, role = about
            told.append(registry.offer(claim(f"{id_}-{name}", term, role), run_id.generation)[0])
        elif what == "remove" and table is not None and table.get(f"{about[1]}-{name}") is not None:
            told.append(registry.delete(f"{about[1]}-{name}", run_id.generation)[0])
        elif what == "end":
            told.append(run_id.graver(about[1]))
        elif what == "restart":
            run_ids[name] = attrs.evolve(run_id, generation=run_id.generation + 1)
            registries[name] = Registry(name)
            told.append(run_ids[name])
    return told


@law
@given(st.lists(steps, max_size=20), st.data())
def test_the_terms_that_a_node_shows_as_the_primary_never_fall(
    said: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    """Whatever happens to whom, in whatever order it is heard, and whatever of it is lost."""
    told: list[Any] = history(said)
    heard = data.draw(st.permutations(told))[: data.draw(st.integers(0, len(told)))]
    node, now, highest = among(B, C), 6.0, 0
    for each in heard:
        now += 0.1
        match each:
            case ("our restart",):
                kept = list(node.state.terms)
                node = among(B, C)
                node.recall((), now, terms=kept)
            case ("our claim", id_, term):
                node.register(claim(f"{id_}-a", term), now)
            case ("our removal", id_) if node.local_registry.own(f"{id_}-a") is not None:
                node.deregister(f"{id_}-a", now)
            case ("a day",):
                now += 90_000.0
            case Record() | MemberUpdate():
                deliver(node, B, each, now=now)
        node.handle_timeout(now)
        primaries = [i.term for i in node.view.service("pg").instances if i.role == PRIMARY]
        assert all(term >= highest for term in primaries)
        assert len(primaries) <= 1
        highest = max([highest, *primaries])
        assert node.local_policies.next_term("pg") > highest
