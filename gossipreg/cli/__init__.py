"""The `gossipreg` command: its subcommands, and every failure in one line."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn

from gossipreg.cli.declare import DeclaredCommand
from gossipreg.cli.plain_line import NotPlain, values_of
from gossipreg.cli.sections import SECTIONS
from gossipreg.errors import AgentRefused, ConfigError, GossipregError

if TYPE_CHECKING:
    import click

    from gossipreg.cli.root import cli as cli

#: The exit status of a node that has ended by a bug (EX_SOFTWARE of sysexits.h).
_STATUS_BUG: Final = 70

#: What a write gets where a disk or a quota is full: of what a command writes itself, only its output raises it.
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

#: The variable in which a shell asks click to complete a command line.
_COMPLETION: Final = "_GOSSIPREG_COMPLETE"


def __getattr__(name: str) -> Any:
    """The group ``cli``, for what reads the commands themselves: click is imported with it."""
    if name != "cli":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gossipreg.cli.root import cli

    return cli


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command line (by default the process's own) and exit with its status.

    A failure is one line on standard error; with ``--json`` among the arguments it is one JSON document there.
    """
    words = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in words
    try:
        status = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough. Python flushes standard output once more at exit; let that go nowhere. The status
        # is the one that click gives when the pipe breaks earlier.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:
            raise
        from gossipreg.failures import reason_of

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # it is flushed once more at exit
        _fail(f"cannot write to standard output: {reason_of(error)}", 1, GossipregError.code, None, as_json=as_json)
    except (GossipregError, ExceptionGroup) as error:
        if not isinstance(error, GossipregError) and (half_changed := _half_changed(error)) is not None:
            import traceback  # needed only on the way to an error

            traceback.print_exception(error)
            _fail(half_changed, _STATUS_BUG, "bug", None, as_json=as_json)
        failure = _failure(error)
        _fail(
            str(failure),
            2 if isinstance(failure, ConfigError) or (isinstance(failure, AgentRefused) and failure.is_usage) else 1,
            failure.code,
            failure.field,
            as_json=as_json,
        )
    except Exception as error:
        if (click := sys.modules.get("click")) is None:
            raise
        if isinstance(error, click.Abort):
            sys.exit(130)
        if not isinstance(error, click.ClickException):
            raise
        _fail(_usage(error), error.exit_code, "usage", None, as_json=as_json)
    sys.exit(status if isinstance(status, int) else 0)


def _run(words: Sequence[str]) -> object:
    """Run a command line: without click if it is a plain one of a command that is declared for that."""
    named = next((each for section in SECTIONS.values() for each in section if each.name in words[:1]), None)
    if named is not None and _COMPLETION not in os.environ:
        command = named.load()
        if isinstance(command, DeclaredCommand):
            with suppress(NotPlain):
                values = values_of(command, words[1:])
                try:
                    return command.function(**values)
                except Exception as error:
                    if not _is_usage_error(error):  # else click reads the line again, and names the page to read
                        raise
    from gossipreg.cli.root import cli

    return cli.main(words, prog_name="gossipreg", standalone_mode=False)


def _is_usage_error(error: Exception) -> bool:
    """Whether a command has refused what it was given. Such a command has done nothing yet."""
    click = sys.modules.get("click")
    return click is not None and isinstance(error, click.UsageError)


def _fail(sentence: str, status: int, code: str, field: str | None, *, as_json: bool) -> NoReturn:
    from gossipreg.text import escaped  # needed only on the way to an error

    line = escaped(" ".join(sentence.split()))  # it may quote what another host sent
    if as_json:
        document = {"error": line, "code": code, **({} if field is None else {"field": field})}
        print(json.dumps(document), file=sys.stderr)
    else:
        print(f"gossipreg: {line}", file=sys.stderr)
    sys.exit(status)


def _usage(error: click.ClickException) -> str:
    """A wrong command line in one line, with the page that has the right one."""
    sentence = error.format_message().rstrip(".")
    sentence = sentence[:1].lower() + sentence[1:]
    context = getattr(error, "ctx", None)
    return f"{sentence} (see {context.command_path} --help)" if context else sentence


def _failure(error: GossipregError | ExceptionGroup[Exception]) -> GossipregError:
    """What went wrong. An error that no user can mend is raised again, with its traceback."""
    leaves = list(_leaves(error))
    sentences = [leaf for leaf in leaves if isinstance(leaf, GossipregError)]
    if len(sentences) < len(leaves):
        raise error
    return sentences[0]


def _half_changed(error: ExceptionGroup[Exception]) -> str | None:
    """The last line of a node whose state cannot be relied on any more, since ``error`` came up in its protocol."""
    supervision = sys.modules.get("gossipreg.runtime.supervision")
    if supervision is None or not supervision.is_broken_invariant(error):
        return None
    bug = next(leaf for leaf in _leaves(error) if supervision.is_broken_invariant(leaf))
    name = type(bug.__cause__ or bug).__name__
    return (
        f"the node has ended, by a bug in gossipreg: {name} came up while its state changed. What is on disk "
        "is whole: start it again, and report the traceback above"
    )


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
