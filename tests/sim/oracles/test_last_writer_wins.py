"""A policy that is lost, that falls back, or that was never said, is seen."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from gossipreg.policy import Split
from gossipreg.protocol.outputs import PoliciesChanged
from gossipreg.protocol.registry.clock import Clock
from gossipreg.protocol.registry.policies import Policies
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.oracles.last_writer_wins import LastWriterWins
from gossipreg_sim.process import Process
from tests.sim.making import run_for
from tests.sim.oracles.watching import texts, watched

KEY = "split:s"


def split(share: int, service: str = "s") -> Split:
    return Split(service, {"v1": share})


def together() -> tuple[Cluster, LastWriterWins]:
    """Three nodes, of which n0 has set a policy and n1 another one in its place."""
    made, last_word = watched(LastWriterWins)
    made.set_policy("n0", split(1))
    run_for(made, 1)
    made.set_policy("n1", split(2))
    run_for(made, 1)
    last_word.context.healed_in = 1.0
    return made, last_word


def hold(process: Process, change: Callable[[PolicyVersion], PolicyVersion | None]) -> None:
    """Let a node hold something else about the key, all of a sudden."""
    words: Policies = process.engine.state.policies
    word = change(words._versions.pop(KEY))
    if word is not None:
        words._versions[KEY] = word


def test_a_word_in_the_place_of_an_earlier_one_is_well() -> None:
    _made, last_word = together()
    last_word.finish()
    assert texts(last_word) == []
    assert last_word.checks > 10


def test_a_word_that_falls_back_is_seen() -> None:
    made, last_word = together()
    n2 = made.processes["n2"]
    hold(n2, lambda word: attrs.evolve(word, ms=word.ms - 5000))
    last_word.see(n2, PoliciesChanged((KEY,)))
    took, never_said = texts(last_word)
    assert took.startswith("took the word of n1 about split:s at ")
    assert never_said.endswith("which n1 never said")


def test_a_word_that_is_forgotten_is_seen() -> None:
    made, last_word = together()
    n2 = made.processes["n2"]
    hold(n2, lambda _: None)
    last_word.see(n2, PoliciesChanged((KEY,)))
    last_word.finish()
    assert texts(last_word)[0].startswith("forgot the word of n1 about split:s")
    assert texts(last_word)[1] == "knows other policies than n0"


def test_what_is_said_at_an_earlier_time_than_what_was_heard_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    made, last_word = watched(LastWriterWins)
    made.processes["n0"].engine.state.clock.offset += 5000
    made.set_policy("n0", split(1))
    made.processes["n1"].engine.state.clock._latest = (0, 0)
    monkeypatch.setattr(Clock, "observe", lambda *_: True)
    run_for(made, 1)
    made.set_policy("n1", split(1, "t"))
    [text] = texts(last_word)
    assert text.startswith("says the word of n1 about split:t")
    assert "after it heard the word of n0 about split:s" in text


def test_a_stamp_behind_the_clock_on_the_wall_is_seen() -> None:
    made, last_word = watched(LastWriterWins)
    made.processes["n0"].engine.state.clock.offset -= 5000
    made.set_policy("n0", split(1))
    assert len(texts(last_word)) == 1


def test_who_comes_back_with_its_disk_has_lost_no_word() -> None:
    made, last_word = watched(LastWriterWins)
    last_word.context.healed_in = 1.0
    for other in ("n1", "n2"):
        made.crash(other)
    made.set_policy("n0", split(1))
    made.crash("n0")
    made.start("n0", disk=True)
    run_for(made, 1)
    last_word.finish()
    assert texts(last_word) == []
    hold(made.processes["n0"], lambda _: None)
    last_word.finish()
    assert texts(last_word)[0].endswith("but n0 holds no word")


def test_who_comes_back_without_need_not_remember() -> None:
    made, last_word = watched(LastWriterWins)
    last_word.context.healed_in = 1.0
    for other in ("n1", "n2"):
        made.crash(other)
    made.set_policy("n0", split(1))
    made.crash("n0")
    made.start("n0")
    run_for(made, 1)
    last_word.finish()
    assert texts(last_word) == []


def test_other_weights_are_seen() -> None:
    made, last_word = together()
    last_word.finish()
    hold(made.processes["n2"], lambda word: word)
    view = made.processes["n2"].engine.view
    shown = view._services["s"]
    view._services["s"] = attrs.evolve(shown, healthy=tuple(attrs.evolve(each, weight=9) for each in shown.healthy))
    last_word.finish()
    assert texts(last_word) == ["shows other weights than n0"]


def test_where_nobody_sets_a_policy_nothing_is_judged() -> None:
    _made, last_word = watched(LastWriterWins)
    last_word.finish()
    assert last_word.note == ""
    last_word.context.healed_in = 1.0
    last_word.finish()
    assert last_word.note == "not applicable here: no policy was set"
