"""Check permissions: which token may register which checks over HTTP, and which may read their output."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from gossipreg.check import Check, CheckKind, CheckReport
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.response import HttpError
from gossipreg.frontends.serving.scopes import Action
from gossipreg.targets import is_local

#: Methods that change nothing where they are asked (RFC 9110 §9.2.1).
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def permit_checks(access: Access, token: str | None, node: NodeApi, checks: Iterable[Check], host: str | None) -> None:
    """Raise a ``HttpError`` if ``token`` may not have an instance at ``host`` (None: the node's own) run ``checks``."""
    acting = [(place, check) for place, check in enumerate(checks) if check.kind is not CheckKind.TTL]
    if not acting:
        return
    here = node.info().address.host
    own = (here,) if host is None else (host, here)
    for place, check in acting:
        is_harmless = check.host is not None and is_local(check.host, own) and check.method in _SAFE_METHODS
        if not is_harmless:
            try:
                access.permit(token, Action.CHECK_MORE)
            except HttpError as no:
                sentence = f"checks[{place}].{check.kind}: {no}"
                raise HttpError(no.answer.status, sentence, no.answer.headers) from None


def outputs_for(access: Access, token: str | None) -> Callable[[CheckReport], str | None]:
    """A function that gives what a check has said, as far as ``token`` is for it; None if it is not.

    What a service says of itself in its heartbeats is for all readers: the node has not fetched it.
    """
    is_all = access.allows(token, Action.READ_CHECK_OUTPUT)
    return lambda report: report.output if is_all or report.check.kind is CheckKind.TTL else None
