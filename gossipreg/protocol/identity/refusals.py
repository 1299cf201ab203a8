"""Refusals: why a statement is not believed, and what a member's certificate does not allow it to state."""

from __future__ import annotations

from gossipreg.certificate import Certificate
from gossipreg.model import PRIMARY, Instance
from gossipreg.protocol.registry.key_statements import is_about_keys
from gossipreg.protocol.registry.token_statements import is_about_tokens
from gossipreg.values import frozen


@frozen
class StatementRefusal:
    """Why a statement is not believed: a few words. ``unsigned``: it has no signature at all."""

    why: str
    unsigned: bool = False
    is_excess: bool = False  # its certificate does not allow it; a record's owner has signed it nevertheless
    is_lie: bool = True  # whether the peer that sent it had to know better


def grant_for(key: str) -> str:
    """What a certificate has to allow for versions of this key to be written under it."""
    return "keys" if is_about_keys(key) else "tokens" if is_about_tokens(key) else "policies"


def beyond_name(certificate: Certificate, name: str) -> StatementRefusal | None:
    """The refusal of a statement by ``name``, if the certificate is for other names."""
    if certificate.allows("names", name):
        return None
    return StatementRefusal(f"its certificate is for {', '.join(certificate.names)}")


def beyond_zone(certificate: Certificate, zone: str) -> StatementRefusal | None:
    """The refusal of a member in ``zone``, if the certificate is for other zones."""
    if not zone or certificate.allows("zones", zone):
        return None
    return StatementRefusal(f"its certificate does not allow zone {zone}")


def excess_of(certificate: Certificate, instance: Instance) -> str | None:
    """What of ``instance`` a certificate does not allow."""
    if not certificate.allows("services", instance.service):
        return f"service {instance.service}"
    if instance.role is not None and not certificate.allows("roles", instance.role):
        return f"role {instance.role}"
    return None


def beyond_terms(certificate: Certificate, service: str, *, claimed: bool) -> str | None:
    """What a certificate does not allow of a term of ``service``, which a primary has ``claimed`` or not."""
    if "policies" in certificate.grants:
        return None
    if not certificate.allows("services", service):
        return f"service {service}"
    return "role primary" if claimed and not certificate.allows("roles", PRIMARY) else None
