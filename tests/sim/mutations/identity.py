"""Mutations of identity: checks of signatures and certificates that are left out, and revocations without effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gossipreg.certificate import Certificate
from gossipreg.delegation import Delegation
from gossipreg.protocol.expulsion import Expulsion
from gossipreg.protocol.identity import authenticator as module
from gossipreg.protocol.identity.authenticator import Authenticator
from gossipreg.protocol.identity.certificate_verifier import CertificateVerifier
from gossipreg.protocol.policy_state import PolicyState
from gossipreg.protocol.registry.policies import Policies
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.table import Table
from gossipreg.revocation import Revocation
from tests.sim.mutations.mutation import mutation
from tests.sim.mutations.scenarios import EXPULSION, IMPOSTORS, LATE_RECORDS, STOLEN_ISSUER


def accepting(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Plant a check that finds everything right."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(Authenticator, name, lambda *_, **__: None)

    return plant


@mutation(IMPOSTORS, "Authority")
def updates_of_members_are_not_verified(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Authenticator, "check_update", lambda _, update, *__: update)


@mutation(IMPOSTORS, "Authority")
def a_held_signature_is_believed_for_another_update(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "is_same_statement", lambda *_: True)


@mutation(IMPOSTORS, "Authority")
def unsigned_updates_are_believed_of_members_that_sign(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Authenticator, "_unsigned", lambda *_: None)


@mutation(IMPOSTORS, "Authority")
def a_certificate_is_for_every_name(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "beyond_name", lambda *_: None)


@mutation(IMPOSTORS, "Authority")
def a_certificate_of_any_authority_counts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CertificateVerifier, "_authority_of", lambda self, *_, **__: self.authorities[0])


@mutation(IMPOSTORS, "Authority")
def a_certificate_counts_after_its_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Certificate, "is_in_force", lambda *_: True)


@mutation(IMPOSTORS, "Authority")
def records_are_not_verified(patch: pytest.MonkeyPatch) -> None:
    accepting("check_record")(patch)


@mutation(IMPOSTORS, "Authority")
def digests_of_tables_are_not_verified(patch: pytest.MonkeyPatch) -> None:
    accepting("check_digest")(patch)


@mutation(LATE_RECORDS, "NoResurrection", "Healing")
def a_digest_deletes_what_it_lists(patch: pytest.MonkeyPatch) -> None:
    original = Table.apply_digest
    patch.setattr(Table, "apply_digest", lambda self, digest, **_: original(self, digest))


@mutation(IMPOSTORS, "Authority")
def revocations_of_any_signature_count(patch: pytest.MonkeyPatch) -> None:
    original = CertificateVerifier.check_revocation

    def check_revocation(self: CertificateVerifier, revocation: Revocation | None) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(CertificateVerifier, "_authority_of", lambda self, *_, **__: self.authorities[0])
            return original(self, revocation)

    patch.setattr(CertificateVerifier, "check_revocation", check_revocation)


@mutation(IMPOSTORS, "Authority")
def policies_are_not_verified(patch: pytest.MonkeyPatch) -> None:
    accepting("check_policy")(patch)


@mutation(IMPOSTORS, "Authority")
def terms_are_not_verified(patch: pytest.MonkeyPatch) -> None:
    accepting("check_terms")(patch)


@mutation(IMPOSTORS, "Authority")
def policies_need_no_grant(patch: pytest.MonkeyPatch) -> None:
    original = Authenticator.check_policy

    def check_policy(self: Authenticator, version: PolicyVersion) -> Any:
        refusal = original(self, version)
        return None if refusal is not None and (refusal.is_excess or "is for" in refusal.why) else refusal

    patch.setattr(Authenticator, "check_policy", check_policy)


@mutation(STOLEN_ISSUER, "Authority")
def an_issuer_may_sign_anything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Delegation, "excess_of", lambda *_: None)


@mutation(STOLEN_ISSUER, "Healing", "LastWriterWins")
def a_revocation_is_one_of_every_certificate_with_its_serial_number(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Revocation, "keys_of", staticmethod(lambda permit: ((permit.serial, b""),)))
    patch.setattr(Revocation, "revoked", property(lambda self: (self.serial, b"")))


@mutation(EXPULSION, "Expelled")
def a_revocation_expels_no_member(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Expulsion, "expel", lambda *_: None)


@mutation(EXPULSION, "Expelled")
def policies_of_expelled_members_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PolicyState, "drop", lambda *_: None)


@mutation(EXPULSION, "Expelled")
def expelled_members_may_come_back(patch: pytest.MonkeyPatch) -> None:
    original = Expulsion.expel

    def expel(self: Expulsion, now: float) -> None:
        original(self, now)
        self.state.authenticator.certificates.revoked.clear()

    patch.setattr(Expulsion, "expel", expel)


@mutation(EXPULSION, "Expelled", "Healing")
def revocations_are_not_passed_on(patch: pytest.MonkeyPatch) -> None:
    original = PolicyState.handle

    def handle(self: PolicyState, version: PolicyVersion, now: float, **how: Any) -> Any:
        return () if version.revocation is not None else original(self, version, now, **how)

    patch.setattr(PolicyState, "handle", handle)


@mutation(EXPULSION, "Expelled")
def revocations_are_evicted(patch: pytest.MonkeyPatch) -> None:
    original = Policies.take

    def take(self: Policies, version: PolicyVersion, *rest: Any) -> list[PolicyVersion]:
        evicted = list(self.revocations) if version.revocation is None else []
        for held in evicted:
            self._drop(held)
        return evicted + original(self, version, *rest)

    patch.setattr(Policies, "take", take)
