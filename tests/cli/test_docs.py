"""The pages about the command line and the settings say what the code does."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gossipreg.cli import cli
from gossipreg.cli.settings import SETTINGS, load
from gossipreg.frontends.serving.access import Access
from gossipreg.runtime.definitions import DefinitionFiles
from tests.cli.configuration_page import PAGE, with_tables

DOCS = PAGE.parent
CLI_PAGE = DOCS / "cli.md"


def blocks(page: Path, language: str) -> Iterator[str]:
    """The contents of the page's code blocks in one language."""
    for block in re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        yield str(block)


def commands_in(text: str) -> Iterator[list[str]]:
    """The arguments of every call of ``gossipreg`` in a piece of shell, without pipes, redirections and comments."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        words = list(lexer)
        while "gossipreg" in words:
            words = words[words.index("gossipreg") + 1 :]
            end = next((place for place, word in enumerate(words) if set(word) <= set("|&;<>()")), len(words))
            yield ["1" if word.startswith("$") else word for word in words[:end]]


def examples() -> Iterator[tuple[str, list[str]]]:
    for page in sorted([*DOCS.rglob("*.md"), DOCS.parent / "README.md"]):
        for language in ("sh", "console", "shell", "bash"):
            for block in blocks(page, language):
                lines = block if language != "console" else "\n".join(re.findall(r"^\$ .*", block, re.MULTILINE))
                yield from ((page.name, arguments) for arguments in commands_in(lines))
    for name, command in cli.commands.items():
        assert command.help is not None
        yield from ((f"{name} --help", arguments) for arguments in commands_in(command.help.partition("Examples:")[2]))


def parse(arguments: list[str], group: click.Group = cli, parent: click.Context | None = None) -> None:
    """Let click read the arguments; nothing is run. Raises ``click.UsageError``."""
    with group.make_context(group.name, arguments[:1], parent=parent) as context:
        name, command, rest = group.resolve_command(context, arguments)
        assert command is not None
        if isinstance(command, click.Group) and rest:
            parse(rest, command, context)
        else:
            command.make_context(name, rest, parent=context)


def test_every_command_line_in_the_docs_parses() -> None:
    wrong, right = [], 0
    for where, arguments in examples():
        if arguments not in (["--help"], ["--version"], []):
            try:
                parse(arguments)
            except click.UsageError as error:
                wrong.append(f"{where}: gossipreg {shlex.join(arguments)}: {error.format_message()}")
            else:
                right += 1
    assert wrong == []
    assert right > 200


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_has_its_section_with_all_its_options_and_no_others(name: str) -> None:
    sections = dict(
        re.findall(r"^## `gossipreg (\w+)[^\n]*`\n(.*?)(?=^## |\Z)", CLI_PAGE.read_text(), re.DOTALL | re.MULTILINE)
    )
    documented = set(re.findall(r"^\| `(--[a-z-]+)", sections[name], re.MULTILINE))
    options = {each.opts[0] for each in cli.commands[name].params if isinstance(each, click.Option)}
    assert documented == options - {"--http", "--token-file", "--json"} | ({"--http"} if name == "agent" else set())


@pytest.mark.parametrize("group", [name for name, each in cli.commands.items() if isinstance(each, click.Group)])
def test_the_section_of_a_group_names_all_its_commands(group: str) -> None:
    command = cli.commands[group]
    assert isinstance(command, click.Group)
    section = CLI_PAGE.read_text().split(f"\n## `gossipreg {group}`\n")[1].split("\n## ")[0]
    assert set(re.findall(rf"^\| `{group} (\w+)", section, re.MULTILINE)) == set(command.commands)


def test_the_tables_of_settings_are_up_to_date() -> None:
    assert PAGE.read_text() == with_tables(PAGE.read_text()), "run: python -m tests.cli.configuration_page"


def test_every_setting_is_in_a_table() -> None:
    rows = set(re.findall(r"^\| `(\w+)` ", PAGE.read_text(), re.MULTILINE))
    assert rows >= {setting.name for setting in SETTINGS.values()}


def test_the_examples_of_tokens_can_be_read(tmp_path: Path) -> None:
    found = []
    for block in blocks(DOCS / "http-api.md", "toml"):
        file = tmp_path / "tokens.toml"
        file.write_text(block)
        file.chmod(0o600)
        found += [token.name for token in Access.from_file(file).tokens]
    assert found == ["dashboard", "ci", "oncall"]


def test_the_configuration_files_in_the_docs_can_be_loaded(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    pages = (PAGE, *(DOCS / f"{name}.md" for name in ("regions", "cells", "keys")))
    found = [block for page in pages for block in blocks(page, "toml")]
    assert found
    for block in found:
        file.write_text(block)
        assert tomllib.loads(block)
        load({}, {}, file)
        assert DefinitionFiles(file, None, commands=False).read().wrong == ()
