"""The fingerprint of one cell holds what that cell may tell others, and no suspicion."""

from __future__ import annotations

from gossipreg.model import Status
from gossipreg.protocol.anti_entropy.fingerprint import bucket_of
from gossipreg.protocol.cells.partitions import Partitions
from gossipreg.protocol.membership.member_update import MemberUpdate
from tests.protocol.making import update


def test_a_partition_of_which_nothing_is_held_is_empty() -> None:
    assert Partitions().total("b") == 0


def test_a_suspected_member_counts_and_is_told_as_if_it_were_alive() -> None:
    partitions = Partitions()
    alive, suspect = update("b1"), update("b1", Status.SUSPECT, accuser=5)
    partitions.replace("b", None, alive)
    before = partitions.total("b")
    partitions.replace("b", alive, suspect)
    assert partitions.total("b") == before != 0
    [held] = partitions.of("b").lacking(bucket_of(alive), ())
    assert isinstance(held, MemberUpdate)
    assert (held.status, held.accuser, held.refused) == (Status.ALIVE, 0, False)
