"""An update that is sent too often is reported, and so is a run that does not end."""

from __future__ import annotations

from gossipreg.protocol.outputs import MemberChanged, Transmit
from gossipreg.protocol.wire.messages import pack
from gossipreg_sim.oracles.message_storms import MessageStorm, sends_budget
from tests.sim.oracles.watching import offer, texts, watched


def test_an_update_sent_too_often_is_reported_once() -> None:
    made, storm = watched(MessageStorm)
    assert storm.checks > 0
    n0 = made.processes["n0"]
    budget = sends_budget(n0.engine.settings)
    own = n0.engine.identity.own_update()
    storm.see(n0, MemberChanged(None, own))
    before = storm._claim.sends[n0]
    for _ in range(budget - before):
        storm.see(n0, Transmit(b"a prefix and then " + pack(own), n0.address))
    assert texts(storm) == []
    for _ in range(3):
        storm.see(n0, Transmit(b"a prefix and then " + pack(own), n0.address))
    assert texts(storm) == [f"sends one update more than {budget} times"]


def test_a_record_is_followed_as_well() -> None:
    made, storm = watched(MessageStorm)
    assert b"n1" in storm._record.data
    assert all(0 < sends <= sends_budget(made.settings) for sends in storm._record.sends.values())


def test_after_a_member_is_forgotten_its_updates_count_as_new() -> None:
    made, storm = watched(MessageStorm)
    own = made.processes["n0"].engine.identity.own_update()
    storm.see(made.processes["n1"], MemberChanged(own, None))
    assert storm._record.data == b""
    made.register("n1", offer("c"))
    assert storm._record.data != b""


def test_a_stopped_run_is_a_storm() -> None:
    _made, storm = watched(MessageStorm)
    storm.stopped(5_000)
    assert texts(storm) == ["more than 5,000 events in a second: the run would not have ended"]
