"""Manual pages and completions are written for every command, and are what man and the shells can read."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import click

from gossipreg.cli import cli
from tests.cli.conftest import Ran


def names(command: click.Command, path: str = "gossipreg") -> set[str]:
    inner = command.commands.items() if isinstance(command, click.Group) else ()
    return {path}.union(*(names(each, f"{path}-{name}") for name, each in inner))


def test_each_command_has_a_page_with_its_help_and_each_option(run: Callable[..., Ran], tmp_path: Path) -> None:
    assert run("manual", "--out", str(tmp_path)).status == 0
    pages = {file.stem: file.read_text() for file in (tmp_path / "man/man1").iterdir()}
    assert pages.keys() == names(cli)
    lookup = pages["gossipreg-lookup"]
    assert "gossipreg\\-lookup \\- List the instances of a service that can be called now" in lookup
    assert "\\fB\\-\\-zone NAME\\fR\nOnly those in this zone." in lookup
    assert "\n.nf\nExamples:\n  gossipreg lookup orders\n" in lookup
    assert "\\fBgossipreg\\-policy\\-remove\\fR(1)" in pages["gossipreg-policy"]
    if shutil.which("groff") is not None:
        files = sorted(map(str, (tmp_path / "man/man1").iterdir()))
        checked = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-z", *files], capture_output=True, text=True, check=True, timeout=60
        )
        assert checked.stderr == ""


def test_each_shell_finds_its_completion(run: Callable[..., Ran], tmp_path: Path) -> None:
    ran = run("manual", "--out", str(tmp_path))
    assert ran.out == f"wrote {len(names(cli)) + 3} files below {tmp_path}\n"
    for shell, file in {
        "bash": "bash-completion/completions/gossipreg",
        "zsh": "zsh/site-functions/_gossipreg",
        "fish": "fish/vendor_completions.d/gossipreg.fish",
    }.items():
        script = (tmp_path / file).read_text()
        assert f"_GOSSIPREG_COMPLETE={shell}_complete" in script
        if shutil.which(shell) is not None:
            subprocess.run([shell, "-n", str(tmp_path / file)], check=True, timeout=60)


def test_a_page_of_an_earlier_release_is_replaced_and_a_directory_that_cannot_be_written_is_named(
    run: Callable[..., Ran], tmp_path: Path
) -> None:
    page = tmp_path / "man/man1/gossipreg.1"
    page.parent.mkdir(parents=True)
    page.write_text("earlier")
    run("manual", "--out", str(tmp_path))
    assert page.read_text().startswith('.TH "GOSSIPREG" 1')
    (tmp_path / "file").write_text("")
    assert run("manual", "--out", str(tmp_path / "file" / "x")) == Ran(
        1, "", f"gossipreg: cannot write {tmp_path}/file/x/man/man1/gossipreg.1: Not a directory\n"
    )
