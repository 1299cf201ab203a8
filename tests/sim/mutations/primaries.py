"""Mutations of primaries: terms, term registers and fencing."""

from __future__ import annotations

from typing import Any

import pytest

from gossipreg.model import Instance
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.terms import TermRegister, Terms
from gossipreg.protocol.term_state import TermState
from tests.sim.mutations.mutation import mutation
from tests.sim.mutations.scenarios import POLICIES, PRIMARIES


@mutation(POLICIES, "Primaries")
def no_instance_is_fenced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("gossipreg.protocol.registry.refresh.as_seen", lambda instance, _primary: instance)


@mutation(POLICIES, "Primaries")
def terms_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("gossipreg.protocol.registry.roles._rank", lambda claim, _deprioritized: (claim.owner, claim.id))


@mutation(POLICIES, "Primaries", seeds=6, first=2)
def health_takes_precedence_over_the_term(patch: pytest.MonkeyPatch) -> None:
    def rank(claim: Instance, _deprioritized: object) -> tuple[bool, int, str, str]:
        return not claim.health.can_serve, -claim.term, claim.owner, claim.id

    patch.setattr("gossipreg.protocol.registry.roles._rank", rank)


@mutation(PRIMARIES, "Primaries")
def a_term_is_forgotten_with_its_instance(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Terms, "claimed", lambda *_: 0)


@mutation(PRIMARIES, "Primaries")
def the_last_received_term_register_wins(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TermRegister, "merged", lambda _self, other: other)


@mutation(PRIMARIES, "Primaries")
def only_own_instances_raise_the_term_register_and_it_is_not_gossiped(patch: pytest.MonkeyPatch) -> None:
    original = TermState.raise_by

    def raise_by(self: TermState, record: Record, now: float, **how: Any) -> None:
        if record.owner == self.own_name:
            original(self, record, now, **{**how, "spread": False})

    patch.setattr(TermState, "raise_by", raise_by)
    patch.setattr(TermState, "handle", lambda *_, **__: False)
