"""The tables of docs/configuration.md, made from the settings themselves.

`python -m tests.cli.configuration_page` writes them into the page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from gossipreg.cli.settings import SETTINGS, Setting
from gossipreg.settings import RELATIONS

PAGE: Final = Path(__file__).parents[2] / "docs" / "configuration.md"

_MARKED: Final = re.compile(r"(<!-- (\w+): made from the code -->\n).*?(?=\n<!-- end -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """The page with its tables as the settings are now."""
    return _MARKED.sub(lambda found: f"{found[1]}\n{_TABLES[found[2]]}\n", text)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _shown(setting: Setting) -> str:
    return f"`{setting.shown_default}`" if setting.shown_default else ""


def _agent_row(setting: Setting) -> tuple[str, ...]:
    flag = f"`{setting.flag}`" if setting.flag else ""
    return f"`{setting.key}`", flag, f"`{setting.variable}`", setting.kind.noun, _shown(setting), setting.doc


def _protocol_row(setting: Setting) -> tuple[str, ...]:
    return f"`{setting.name}`", setting.kind.noun, setting.kind.range, _shown(setting), setting.doc


_TABLES: Final = {
    "agent": _table(
        ("key", "flag", "variable", "type", "default", "what it is"),
        [_agent_row(setting) for setting in SETTINGS.values() if "." not in setting.key],
    ),
    "protocol": _table(
        ("key", "type", "range", "default", "what it is"),
        [_protocol_row(setting) for setting in SETTINGS.values() if "." in setting.key],
    ),
    "relations": "\n".join(f"- {relation.text}" for relation in RELATIONS),
}

if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
