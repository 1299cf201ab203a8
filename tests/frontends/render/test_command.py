"""A command is run to its end, and what it wrote is logged."""

from __future__ import annotations

import logging

import pytest

from gossipreg.frontends.render.command import Command


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_what_it_wrote_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    line = "echo fine; echo too >&2"
    assert Command(line).run()
    assert lines(caplog) == [("INFO", f"{line}: fine"), ("INFO", f"{line}: too")]


def test_a_failure_is_an_error_with_what_it_wrote(caplog: pytest.LogCaptureFixture) -> None:
    assert not Command("echo bad; exit 3").run()
    assert lines(caplog) == [
        ("ERROR", "echo bad; exit 3: bad"),
        ("ERROR", "echo bad; exit 3: failed with status 3; it runs again at the next change"),
    ]


def test_it_is_killed_beyond_its_time_with_what_it_started(caplog: pytest.LogCaptureFixture) -> None:
    assert not Command("sleep 60 & sleep 60; true", seconds_max=0.1).run()
    assert [text.partition(": ")[2] for _, text in lines(caplog)] == [
        "it is not done after 0.1 s, and is killed",
        "was ended by SIGKILL; it runs again at the next change",
    ]


def test_what_it_leaves_running_is_not_waited_for() -> None:
    assert Command("sleep 5 & true", seconds_max=2).run()


def test_of_a_long_output_the_beginning_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert Command("seq 1000").run()
    assert len(caplog.records) == 50
