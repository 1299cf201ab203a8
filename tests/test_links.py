"""No link in the documentation is dead, and every page can be found from the first page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def links(page: Path) -> Iterator[str]:
    """The targets of the page's links and pictures, outside of code."""
    text = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text()))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        yield str(target)


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of the page's headings, as the usual renderers make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        repeats = sum(1 for each in found if each == anchor or re.fullmatch(re.escape(anchor) + r"-\d+", each))
        found.add(f"{anchor}-{repeats}" if repeats else anchor)
    return found


def local_links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        yield from ((page, link) for link in links(page) if not re.match(r"\w+:", link))


def fault_of(page: Path, link: str) -> str | None:
    """What is wrong with a link of a page."""
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return "no such file"
    if not target.is_relative_to(ROOT):
        return "it leads out of the repository"
    if page.is_relative_to(DOCS) and not target.is_relative_to(DOCS):
        return "the site that is built of docs/ has no such file: write its path as `code`"
    if anchor and anchor not in anchors(target):
        return "no such heading"
    return None


def test_every_link_leads_somewhere() -> None:
    found = [(page, link, fault_of(page, link)) for page, link in local_links()]
    assert len(found) > 500
    assert [f"{page.relative_to(ROOT)}: {link}: {fault}" for page, link, fault in found if fault] == []


def test_every_page_can_be_reached_from_the_first_page() -> None:
    reached = {ROOT / "README.md"}
    fresh = set(reached)
    while fresh:
        page = fresh.pop()
        for link in links(page):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists() and target not in reached:
                reached.add(target)
                fresh.add(target)
    assert set(PAGES) <= reached


def test_the_index_has_every_page() -> None:
    index = {(DOCS / link.partition("#")[0]).resolve() for link in links(DOCS / "README.md")}
    assert {page for page in DOCS.glob("*.md") if page.name != "README.md"} <= index
    for folder in ("decisions", "clients"):
        inner = {(DOCS / folder / link.partition("#")[0]).resolve() for link in links(DOCS / folder / "README.md")}
        assert {page for page in (DOCS / folder).glob("*.md") if page.name != "README.md"} <= inner
