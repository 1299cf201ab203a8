"""Tokens where Consul's clients put them: every route, with each place and with a token of each scope."""

from __future__ import annotations

from typing import Any, Final

import pytest

from gossipreg.frontends.consul.api import PATHS
from gossipreg.frontends.serving.scopes import Action
from tests.frontends.test_scopes import BODIES, TOKENS, ask, listener, node, target_of

ROUTES: Final = [(method, pattern, action) for method, pattern, (_, action) in PATHS.routes]


def shown_in(place: str, token: str, target: str) -> dict[str, Any]:
    if place == "query":
        return {"target": f"{target}{'&' if '?' in target else '?'}token={token}"}
    if place == "header":
        return {"target": target, "headers": ((b"x-consul-token", token.encode()),)}
    return {"target": target, "token": token}  # Authorization: Bearer


@pytest.mark.parametrize("place", ["header", "query", "bearer"])
async def test_every_route_reads_the_token_and_asks_for_its_scope(place: str) -> None:
    for method, pattern, action in ROUTES:
        body = BODIES.get((method, pattern))
        for scope, token in TOKENS.items():
            answer = await ask(listener(node()), method, body=body, **shown_in(place, token, target_of(pattern)))
            may = action.scope is None or scope in (action.scope, action.also)
            good = (501,) if action is Action.ABSENT else (200, 404)
            assert answer.status in (good if may else (403,)), (method, pattern, scope, answer)
            assert may or answer.body.startswith(b"the token "), answer


async def test_an_unknown_token_is_refused_in_consuls_words_and_none_with_the_remedy() -> None:
    for method, pattern, _ in ROUTES:
        body = BODIES.get((method, pattern))
        answer = await ask(listener(node()), method, body=body, **shown_in("header", "unknown", target_of(pattern)))
        assert (answer.status, answer.body) == (403, b"ACL not found"), (method, pattern)
        answer = await ask(listener(node()), method, target_of(pattern), body)
        assert (answer.status, answer.body[:17]) == (403, b"Permission denied"), (method, pattern)
