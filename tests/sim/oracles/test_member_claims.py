"""Nobody speaks for a member, and a member that is accused answers."""

from __future__ import annotations

import attrs
import pytest

from gossipreg.model import Status
from gossipreg.protocol.membership.identity import Identity
from gossipreg.protocol.outputs import MemberChanged
from gossipreg.protocol.wire.messages import pack
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.oracles.member_claims import AnsweredAccusations, MemberClaims
from tests.sim.making import run_for
from tests.sim.oracles.watching import texts, watched


def test_a_belief_of_which_its_member_never_spoke_is_seen() -> None:
    made, claims = watched(MemberClaims)
    n0, n1 = made.processes["n0"], made.processes["n1"].engine.identity
    claims.see(n0, MemberChanged(None, n1.own_update().graver(Status.SUSPECT)))
    assert claims.checks == 1
    assert texts(claims) == []
    claims.see(n0, MemberChanged(None, attrs.evolve(n1.own_update(), incarnation=1)))
    claims.see(n0, MemberChanged(None, attrs.evolve(n1.own_update(), generation=n1.generation + 5)))
    assert texts(claims) == [
        f"believes in n1 in generation {n1.generation}, incarnation 1, of which n1 never spoke",
        f"believes in n1 in generation {n1.generation + 5}, incarnation 0, of which n1 never spoke",
    ]


def accuse(made: Cluster, status: Status) -> None:
    """Let n0 tell n1, over the network, that it is thought to be so."""
    n0, n1 = made.processes["n0"], made.processes["n1"]
    n0.engine.outbox.send(n1.address, pack(n1.engine.identity.own_update().graver(status)))
    n0.act(n0.engine.outbox.take())
    run_for(made, 0.01)


@pytest.mark.parametrize("status", [Status.SUSPECT, Status.FAILED])
def test_whoever_answers_an_accusation_in_the_same_step_is_well(status: Status) -> None:
    made, answers = watched(AnsweredAccusations)
    accuse(made, status)
    assert answers.checks == 1
    assert texts(answers) == []


def test_an_accusation_that_is_not_answered_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    made, answers = watched(AnsweredAccusations)
    monkeypatch.setattr(Identity, "refute", lambda *_: None)
    accuse(made, Status.SUSPECT)
    generation = made.processes["n1"].engine.identity.generation
    assert texts(answers)[0] == f"heard itself accused in ({generation}, 0), and is still in ({generation}, 0)"


def test_where_nobody_is_accused_answers_are_not_judged() -> None:
    _made, answers = watched(AnsweredAccusations)
    answers.finish()
    assert answers.note == "not applicable here: no member learned of an accusation"
