"""Knows of which services several healthy instances claim to be the primary, and says so when that changes."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import attrs

from gossipreg.model import PRIMARY, Instance, RoleEvent
from gossipreg.protocol.registry.roles import contenders
from gossipreg.protocol.registry.view import View

log = logging.getLogger(__name__)


@attrs.define(eq=False, repr=False)
class PrimaryConflicts:
    """Services of which several healthy instances claim to be the primary, as was last told of them."""

    _view: View
    _reported: dict[str, tuple[Instance, ...]] = attrs.field(factory=dict)

    def observe(self, service: str) -> RoleEvent | None:
        """What there is to tell of the service now."""
        before = self._reported.pop(service, ())
        now = contenders(self._view.service(service).healthy)
        primary = now[0] if now and now[0].role == PRIMARY else None
        if len(now) > 1:
            self._reported[service] = now
            return None if _claims(now) == _claims(before) else RoleEvent("contested", service, primary, now)
        return RoleEvent("settled", service, primary, now) if before else None

    def warn(self, services: Iterable[str]) -> None:
        """Tell the log of those of the ``services``, which have changed, that several claim to be the primary of."""
        for service in services:
            event = self.observe(service)
            if event is not None:
                _log(event)


def _claims(contending: Iterable[Instance]) -> list[tuple[str, str, int, str | None]]:
    return [(each.owner, each.id, each.term, each.role) for each in contending]


def _log(event: RoleEvent) -> None:
    named = [f"{each.id} of {each.owner} (term {each.term})" for each in event.contenders[:4]]
    if event.kind == "settled":
        log.info("%s is contested no more: its primary is %s", event.service, named[0] if event.primary else "nobody")
        return
    log.warning(
        "%d instances of %s claim to be its primary: %s: %s is called; register the others as replicas",
        len(event.contenders),
        event.service,
        ", ".join(named),
        event.primary.id if event.primary else "none of them",
    )
