"""A seed gives one plan, its operations can be executed, and each nemesis heals within its phase."""

from __future__ import annotations

import itertools

import pytest

from tests.chaos.client import op_of_policy, outcome_of, request, row_of
from tests.chaos.faults import NEMESES
from tests.chaos.plan import KINDS, Operation, Phase, draw_phases


def phases(seed: int, count: int = 40, **changes: object) -> list[Phase]:
    options = {"agents": 5, "nemeses": list(NEMESES), "rate": 4.0, "length": 20.0, **changes}
    return list(itertools.islice(draw_phases(seed, **options), count))  # type: ignore[arg-type]


def test_a_seed_gives_one_plan() -> None:
    assert phases(7) == phases(7)
    assert phases(7) != phases(8)


def test_all_nemeses_take_their_turns_alone_and_mixed() -> None:
    alone = phases(1, len(NEMESES), mixed=False)
    assert {fault.nemesis for phase in alone for fault in phase.faults} == set(NEMESES)
    assert all(len({fault.nemesis for fault in phase.faults}) == 1 for phase in alone)
    assert max(len({fault.nemesis for fault in phase.faults}) for phase in phases(1)) == 3


@pytest.mark.parametrize("agents", [3, 5, 9])
def test_faults_end_within_their_phase_and_affect_fewer_than_half_of_the_hosts(agents: int) -> None:
    for phase in phases(3, agents=agents):
        for fault in phase.faults:
            assert 0 <= fault.at <= fault.until <= phase.length
            assert len(fault.hosts) <= agents // 2
            assert all(0 <= host < agents for host in fault.hosts)


def test_at_most_one_nemesis_of_a_phase_handles_processes() -> None:
    for phase in phases(4):
        assert len({fault.nemesis for fault in phase.faults if NEMESES[fault.nemesis].handles_process}) <= 1


def test_numbers_rise_with_time_and_every_kind_of_operation_occurs() -> None:
    operations = [operation for phase in phases(5) for operation in phase.operations]
    assert [each.number for each in operations] == list(range(1, len(operations) + 1))
    assert {each.kind for each in operations} == set(KINDS)
    for phase in phases(5):
        assert [each.at for each in phase.operations] == sorted(each.at for each in phase.operations)


def test_every_operation_has_a_request() -> None:
    operations = [operation for phase in phases(6) for operation in phase.operations]
    for operation in operations:
        method, target, document = request(operation)
        assert method in ("PUT", "DELETE")
        assert target.startswith("/api/v1/")
        assert (document is not None) == (operation.kind in ("register", "set"))


def test_an_answer_identifies_the_operation_that_set_it() -> None:
    _, _, document = request(Operation(61_234, 0.0, 0, "register", id="n1-2", service="mail", weight=3))
    row = row_of({**document, "owner": "n1", "health": "passing", "role": None, "term": 0})
    assert (row.op, row.port) == (61_234, document["port"])
    for key in ("split:orders", "weight:billing:n1-1", "maintenance:billing:n1-1"):
        kind, *_ = key.split(":")
        _, _, document = request(Operation(41_234, 0.0, 0, "set", key=key))
        assert op_of_policy({"kind": kind, "shares": document.get("split"), **document}) == 41_234


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, "ok"), (201, "ok"), (204, "ok"), (404, "refused"), (500, "refused")]
)
def test_a_status_gives_an_outcome(status: int, outcome: str) -> None:
    assert outcome_of(status) == outcome
