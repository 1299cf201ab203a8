"""Only a member announces its own claims, and an accused member refutes."""

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


def test_a_claim_that_its_member_never_announced_is_reported() -> None:
    made, claims = watched(MemberClaims)
    n0, n1 = made.processes["n0"], made.processes["n1"].engine.identity
    claims.see(n0, MemberChanged(None, n1.own_update().graver(Status.SUSPECT)))
    assert claims.checks == 1
    assert texts(claims) == []
    claims.see(n0, MemberChanged(None, attrs.evolve(n1.own_update(), incarnation=1)))
    claims.see(n0, MemberChanged(None, attrs.evolve(n1.own_update(), generation=n1.generation + 5)))
    assert texts(claims) == [
        f"believes n1 in generation {n1.generation}, incarnation 1, which n1 never announced",
        f"believes n1 in generation {n1.generation + 5}, incarnation 0, which n1 never announced",
    ]


def accuse(made: Cluster, status: Status) -> None:
    """Make n0 tell n1, over the network, that it is believed to be ``status``."""
    n0, n1 = made.processes["n0"], made.processes["n1"]
    n0.engine.outbox.send(
        n1.engine.identity.own_update().destination, pack(n1.engine.identity.own_update().graver(status))
    )
    n0.act(n0.engine.outbox.take())
    run_for(made, 0.01)


@pytest.mark.parametrize("status", [Status.SUSPECT, Status.FAILED])
def test_a_refutation_in_the_same_step_passes(status: Status) -> None:
    made, answers = watched(AnsweredAccusations)
    accuse(made, status)
    assert answers.checks == 1
    assert texts(answers) == []


def test_an_accusation_without_a_refutation_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    made, answers = watched(AnsweredAccusations)
    monkeypatch.setattr(Identity, "refute", lambda *_: None)
    accuse(made, Status.SUSPECT)
    generation = made.processes["n1"].engine.identity.generation
    assert texts(answers)[0] == f"received an accusation of ({generation}, 0), and is still in ({generation}, 0)"


def test_without_an_accusation_the_oracle_does_not_apply() -> None:
    _made, answers = watched(AnsweredAccusations)
    answers.finish()
    assert answers.note == "not applicable here: no member learned of an accusation"
