"""The command `manual`: writes a manual page for each command, and the completions of three shells.

They are made of the commands themselves, so they are those of the release that is installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import click
from click.shell_completion import ShellComplete, get_completion_class

from gossipreg import __version__
from gossipreg.cli.help_page import command
from gossipreg.errors import GossipregError

#: Where each shell looks for the completion of a command, below a directory such as /usr/local/share.
_COMPLETIONS: Final = {
    "bash": "bash-completion/completions/gossipreg",
    "zsh": "zsh/site-functions/_gossipreg",
    "fish": "fish/vendor_completions.d/gossipreg.fish",
}

#: Bash ends a word at a colon, which ids and keys of policies may have.
_WORDS: Final = "COMP_WORDBREAKS=${COMP_WORDBREAKS//:}\n"

#: What click writes at the head of a paragraph that is to stay as it is.
_VERBATIM: Final = "\b\n"


@command()
@click.option(
    "--out",
    metavar="DIRECTORY",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where they go: a directory such as /usr/local/share, in which man and the shells look.",
)
@click.pass_context
def manual(context: click.Context, out: Path) -> None:
    """Write manual pages, and completions for bash, zsh and fish.

    Files of an earlier release are replaced. Run it after each upgrade; as root for all users, or for one user with
    ~/.local/share, where man and fish look by themselves.

    Examples:
      gossipreg manual --out /usr/local/share
      gossipreg manual --out ~/.local/share && man gossipreg-lookup
    """
    root = context.find_root()
    written = 0
    for name, text in (*pages(root), *completions(root.command)):
        file = out / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        except OSError as error:
            raise GossipregError(f"cannot write {file}: {error.strerror}") from None
        written += 1
    click.echo(f"wrote {written} files below {out}")


def completions(root: click.Command) -> Iterator[tuple[str, str]]:
    """The file and the script of each shell."""
    for shell, file in _COMPLETIONS.items():
        kind = get_completion_class(shell)
        assert kind is not None, "click knows it"
        script = ShellComplete.source(kind(root, {}, "gossipreg", "_GOSSIPREG_COMPLETE"))
        yield file, script + (_WORDS if shell == "bash" else "")


def pages(root: click.Context) -> Iterator[tuple[str, str]]:
    """The file and the text of the page of each command, those of groups before those of their commands."""
    for context in _contexts(click.Context(root.command, info_name="gossipreg", **root.command.context_settings)):
        name = context.command_path.replace(" ", "-")
        yield f"man/man1/{name}.1", "\n".join(_page(context, name)) + "\n"


def _contexts(context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            try:
                inner = context.command.get_command(context, name)
            except ModuleNotFoundError:
                continue  # its extra is not installed
            if inner is not None and not inner.hidden:
                yield from _contexts(click.Context(inner, parent=context, info_name=name, **inner.context_settings))


def _page(context: click.Context, name: str) -> Iterator[str]:
    shown = context.command
    yield f'.TH "{name.upper()}" 1 "" "gossipreg {__version__}" "gossipreg"'
    yield from (".nh", ".ad l")  # nothing is broken that is to be copied
    yield from (".SH NAME", _escaped(f"{name} - {shown.get_short_help_str(1000).rstrip('.')}"))
    yield from (".SH SYNOPSIS", f".B {_escaped(context.command_path)}")
    yield _escaped(" ".join(shown.collect_usage_pieces(context)))
    yield ".SH DESCRIPTION"
    yield from _paragraphs(shown.help or "")
    options = [each.get_help_record(context) for each in shown.get_params(context) if isinstance(each, click.Option)]
    yield from _listed("OPTIONS", [each for each in options if each is not None])
    related = [] if context.parent is None else [context.parent.command_path]
    if isinstance(shown, click.Group):
        inner = [each for each in _contexts(context) if each.parent is context]
        yield from _listed("COMMANDS", [(each.info_name or "", each.command.get_short_help_str(200)) for each in inner])
        related += [each.command_path for each in inner]
    if related:
        yield ".SH SEE ALSO"
        yield ", ".join(f"\\fB{_escaped(each.replace(' ', '-'))}\\fR(1)" for each in related)


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield ".PP"
        if paragraph.startswith(_VERBATIM) or "\n  " in paragraph:
            yield from (".nf", *map(_escaped, paragraph.removeprefix(_VERBATIM).splitlines()), ".fi")
        else:
            yield _escaped(" ".join(paragraph.split()))


def _listed(title: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    rows = list(rows)
    if rows:
        yield f".SH {title}"
    for term, text in rows:
        yield from (".TP", f"\\fB{_escaped(term)}\\fR", _escaped(" ".join(text.split())))


def _escaped(text: str) -> str:
    """``text`` as roff prints it: its own marks are none of roff's."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text
