"""The tables of docs/scopes.md, made from the actions and from the routers of all HTTP frontends.

`python -m tests.frontends.scopes_page` writes them into the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gossipreg.agent_config import COMPATIBILITY_APIS
from gossipreg.frontends.http.routes import ROUTES
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.frontends.serving.scopes import Action
from gossipreg.frontends.web import create_page

PAGE: Final = Path(__file__).parents[2] / "docs" / "scopes.md"

_MARKED: Final = re.compile(r"(<!-- scopes: made from the code -->\n).*?(?=\n<!-- end -->)", re.DOTALL)

#: Eureka's clients look at two places for the same.
_SECOND_ROOT: Final = "/eureka/v2/"


def every_route() -> Iterator[tuple[str, str, str, Action]]:
    """Every route of every HTTP frontend: whose it is, its method, its path or pattern, and what is done there."""
    for route in ROUTES:
        yield "native", route.method, route.path, route.action
    for name in COMPATIBILITY_APIS:
        [create_api] = load((name,))
        for method, pattern, action in create_api.routes:
            yield name, method, pattern, action
    for method, pattern, action in create_page().routes:
        yield "web", method, pattern, action


def with_table(text: str) -> str:
    """The page with its table as the code is now."""
    head = ("| scope | what it is for | where |", "| --- | --- | --- |")
    rows = "\n".join((*head, *map(_row, Action)))
    return _MARKED.sub(lambda found: f"{found[1]}\n{rows}\n", text)


def _row(action: Action) -> str:
    scopes = [f"`{each}`" for each in (action.scope, action.also) if each is not None]
    scope = " or ".join(scopes) or "none"
    return f"| {scope} | {action.what} | {_where(action)} |"


def _where(action: Action) -> str:
    if action is Action.ABSENT:
        paths = dict.fromkeys(path for _, _, path, each in every_route() if each is action)
        return ", ".join(f"`{path}`" for path in paths)
    found = [f"`{method} {path}`" for _, method, path, each in every_route() if each is action and _is_shown(path)]
    return "<br>".join(found) or _WITHIN[action]


def _is_shown(path: str) -> bool:
    return not path.startswith(_SECOND_ROOT)


#: Actions without a route of their own.
_WITHIN: Final = {
    Action.READ_CHECK_OUTPUT: "within what shows checks; without it `output` is null, and Consul's `Output` the reason",
    Action.CHECK_MORE: "within what registers, see below",
}


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
