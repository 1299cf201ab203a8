"""Each strong word of the documentation is held by a test that docs/promises.md names, or is no promise.

Strong words are "exact", "always", "never", "at once" and their like. A sentence with one must be true without
exception, so a test is named for it. What is no promise of behaviour is in the lists below, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGE = DOCS / "promises.md"

STRONG = re.compile(r"\b(exact|exactly|always|never|at once|immediately|guarantees?|guaranteed)\b", re.IGNORECASE)

#: Pages, or folders of pages, that promise nothing by such a word; and why.
NO_PROMISES = {
    "promises.md": "the list itself",
    "changelog.md": "says what changed; what is promised is said on the page of the feature",
    "decisions/": "each says what was decided and found at its date",
    "reference/": "is made from docstrings, which the tests of the code hold",
    "benchmarks.md": "says what was measured at a date; 'exact' marks figures of virtual time",
    "measurements.md": "says what was measured at a date; 'exact' marks figures of virtual time",
    "clients/README.md": "says what was seen with real clients; each row is written by its test",
    "chaos.md": "has the invariants that the chaos test checks, each of which tests/chaos/test_checker.py violates",
    "security.md": "names a test beside each promise; tests/test_security_page.py holds that",
    "mutation.md": "names places of the code",
    "fuzzing.md": "says what the benchmark does",
    "scale.md": "says what was measured; 'at once' counts nodes",
}

#: Words that promise nothing wherever they stand, as patterns; and why.
NO_PROMISE_ANYWHERE = {
    r"(lost|failed) at once": "a term of the glossary: of owners that failed within a minute of each other",
    r"[Cc]onnections( to one instance)? at once|most (\d+ )?run at once|runs at once": "at the same time: a limit",
    r"[;:] (0: |0 is )?never( by default)?[ .|]|0 is never|, never a difference|0 is at once": "the meaning of a value",
    r"(all|many) (nodes|agents)( \w+)? (ended |down |stop )?at once|many renewals fail at once": "at the same time",
    r'"(exact|always|never|at once)"': "the word itself is meant",
}


def normalized(text: str) -> str:
    """The text without code blocks, in one line."""
    return " ".join(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL).split())


def table(head: str) -> Iterator[list[str]]:
    """The rows of the table with this head on the page; of a link in the first column, the target."""
    found = re.search(rf"^{re.escape(head)}\n\|---\|---\|---\|\n((?:\|.*\n)*)", PAGE.read_text(), re.MULTILINE)
    assert found is not None, head
    for line in found[1].splitlines():
        page, *rest = (cell.strip() for cell in line.strip("|").split(" | "))
        yield [re.sub(r"\[.*?\]\((.*?)\)", r"\1", page).strip("`"), *rest]


def rows() -> list[tuple[str, str, list[str]]]:
    """The page of each sentence, the sentence or a part of it, and the tests that hold it."""
    head = "| page | sentence | test |"
    return [(page, sentence, re.findall(r"`(tests/[^`]+)`", tests)) for page, sentence, tests in table(head)]


def others() -> list[tuple[str, str, str]]:
    """The page of other strong words, the words around, and why no test holds them."""
    return [(page, words, reason) for page, words, reason in table("| page | words | reason |")]


def pages() -> Iterator[tuple[str, str]]:
    """The pages that may promise, by their path from docs/, with their text in one line."""
    for file in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]:
        name = "../README.md" if file.parent == ROOT else str(file.relative_to(DOCS))
        if not any(name == each or (each.endswith("/") and name.startswith(each)) for each in NO_PROMISES):
            yield name, normalized(file.read_text())


def is_test(named: str) -> bool:
    """Whether there is such a test, or such a file if a file is named."""
    path, _, function = named.partition("::")
    file = ROOT / path
    return file.is_file() and (
        not function or re.search(rf"^(async )?def {function}\(", file.read_text(), re.MULTILINE) is not None
    )


def spans(pattern: str, text: str) -> Iterator[tuple[int, int]]:
    for found in re.finditer(pattern, text):
        yield found.span()


def uncovered(name: str, text: str) -> list[str]:
    """The places of strong words that no row and no list covers."""
    known = [each for pattern in NO_PROMISE_ANYWHERE for each in spans(pattern, text)]
    for page, words, _ in [*rows(), *others()]:
        if page == name:
            known += spans(re.escape(words), text)
    return [
        f"{name}: … {text[max(0, word.start() - 90) : word.end() + 60]} …"
        for word in STRONG.finditer(text)
        if not any(begins <= word.start() and word.end() <= ends for begins, ends in known)
    ]


def test_every_strong_word_is_held_by_a_test_or_is_no_promise() -> None:
    found = [place for name, text in pages() for place in uncovered(name, text)]
    assert found == [], "name its test in docs/promises.md, or say it without the word"


def test_every_test_that_is_named_exists() -> None:
    named = {test for _, _, tests in rows() for test in tests}
    assert [test for test in sorted(named) if not is_test(test)] == [], "rename it on the page"


def test_every_sentence_is_on_its_page_with_a_strong_word_and_names_a_test() -> None:
    texts = dict(pages())
    assert len(rows()) > 60
    for page, sentence, tests in rows():
        assert sentence in texts[page], f"not on {page}: change the row"
        assert STRONG.search(sentence), sentence
        assert tests, sentence
    for page, words, reason in others():
        assert words in texts[page], f"not on {page}: take the row off"
        assert STRONG.search(words), words
        assert reason


def test_every_page_that_is_left_out_is_there() -> None:
    assert [page for page in NO_PROMISES if not (DOCS / page).exists()] == []
