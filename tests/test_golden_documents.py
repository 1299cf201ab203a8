"""Certificates, delegations and revocations as each release has signed them are read by today's reader, field by field.

`golden_documents.txt` has a line a document: the release, the kind, the fields as JSON, and the document in hex.
A line is never changed or removed: files and clusters hold such documents. A release that adds a field adds lines.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from gossipreg.certificate import Certificate
from gossipreg.delegation import Delegation
from gossipreg.revocation import Revocation
from gossipreg.signatures import SigningKey
from gossipreg.signed_document import SignedDocument

GOLDEN: Final = Path(__file__).with_name("golden_documents.txt")
KINDS: Final[dict[str, type[SignedDocument]]] = {each.noun: each for each in (Certificate, Delegation, Revocation)}
AUTHORITY: Final = SigningKey(bytes(range(32)))
_PARTS: Final = 4


def shown(document: SignedDocument) -> dict[str, Any]:
    """The fields of a document, as JSON has them."""
    fields = attrs.asdict(document, filter=lambda field, _: field.name != "data")
    return {
        key: value.hex() if isinstance(value, bytes) else list(value) if isinstance(value, tuple) else value
        for key, value in fields.items()
    }


def golden() -> list[list[str]]:
    return [line.split("\t") for line in GOLDEN.read_text().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("line", golden(), ids=lambda line: f"{line[1]} of {line[0]}")
def test_todays_reader_finds_in_each_document_what_was_signed(line: list[str]) -> None:
    assert len(line) == _PARTS
    document = KINDS[line[1]].read(bytes.fromhex(line[3]))
    found, signed = shown(document), json.loads(line[2])
    assert {key: found[key] for key in signed} == signed
    assert not any(value for key, value in found.items() if key not in signed), "fields of later releases are empty"
    assert document.is_signed_by(AUTHORITY.public)


def test_todays_release_signs_the_same_bytes_as_the_latest_line_of_each_kind() -> None:
    latest = {line[1]: line for line in golden()}
    assert latest.keys() == KINDS.keys()
    for noun, line in latest.items():
        document = KINDS[noun].read(bytes.fromhex(line[3]))
        fields = attrs.asdict(document, filter=lambda field, _: field.name not in ("authority", "data"), recurse=False)
        assert KINDS[noun].issue(AUTHORITY, **fields).data.hex() == line[3]
