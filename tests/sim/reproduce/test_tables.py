"""The output of findings."""

from __future__ import annotations

import json

from gossipreg_sim.reproduce.tables import Findings, Table, triple

TABLE = Table("Title", ("who", "count", "share"), (("a", 12_345, 1.5), ("longer", 1, None)), "a note")


def test_columns_are_aligned_and_unknown_values_are_dashes() -> None:
    assert list(TABLE.lines()) == [
        "Title",
        "who      count  share",
        "a       12,345   1.50",
        "longer       1      -",
        "a note",
    ]


def test_a_document_has_one_object_for_each_row() -> None:
    document = json.loads(json.dumps(Findings("swim", "again", (TABLE,)).document(1.26)))
    assert document["tables"][0]["rows"][1] == {"who": "longer", "count": 1, "share": None}
    assert (document["command"], document["seconds"]) == ("again", 1.3)


def test_the_last_line_has_the_command() -> None:
    assert list(Findings("swim", "do it", (TABLE,)).lines(61.4))[-1] == "61 s; again: do it"


def test_several_values_share_a_cell() -> None:
    assert triple((1.0, None, 2.25)) == "1.00 / - / 2.25"
