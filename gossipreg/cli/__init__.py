"""The `gossipreg` command: its subcommands, and every failure in one line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NoReturn

import click

from gossipreg.cli.help_page import CommandName, SectionedGroup
from gossipreg.errors import ConfigError, GossipregError

#: The commands under the headings of the help page, and the modules that have them. A command line imports its own:
#: most of the others bring more than asking an agent takes.
_SECTIONS: Final[Mapping[str, Sequence[CommandName]]] = {
    "Run": (
        CommandName("agent", "gossipreg.cli.agent"),
        CommandName("proxy", "gossipreg.cli.proxy"),
        CommandName("render", "gossipreg.cli.render"),
        CommandName("migrate", "gossipreg.cli.migrate"),
        CommandName("demo", "gossipreg.cli.demo"),
        CommandName("keygen", "gossipreg.cli.keygen"),
    ),
    "Ask the agent": (
        CommandName("lookup", "gossipreg.cli.services"),
        CommandName("services", "gossipreg.cli.services"),
        CommandName("checks", "gossipreg.cli.checks"),
        CommandName("credentials", "gossipreg.cli.credentials"),
        CommandName("members", "gossipreg.cli.members"),
        CommandName("top", "gossipreg.cli.top"),
        CommandName("watch", "gossipreg.cli.watch"),
        CommandName("info", "gossipreg.cli.members"),
    ),
    "Tell the agent": (
        CommandName("register", "gossipreg.cli.services"),
        CommandName("deregister", "gossipreg.cli.services"),
        CommandName("heartbeat", "gossipreg.cli.checks"),
        CommandName("maintenance", "gossipreg.cli.checks"),
        CommandName("weight", "gossipreg.cli.policies"),
        CommandName("policy", "gossipreg.cli.policies"),
        CommandName("role", "gossipreg.cli.roles"),
        CommandName("keys", "gossipreg.cli.keys"),
        CommandName("drain", "gossipreg.cli.members"),
        CommandName("forget", "gossipreg.cli.members"),
        CommandName("leave", "gossipreg.cli.members"),
    ),
    "Try it out": (CommandName("sim", "gossipreg.cli.sim"),),
}


@click.group(
    cls=SectionedGroup,
    sections=_SECTIONS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="gossipreg", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """A service registry with no registry server.

    Every host runs an agent; agents find each other, watch each other, and gossip what they offer. Any of them
    answers, from its own memory, which healthy instances of a service can be called now.

    Examples:
      gossipreg demo
      gossipreg agent --join 10.0.0.6
      gossipreg register orders --port 8080
      gossipreg lookup orders

    Exit status: 0 done, 1 failed, 2 wrong usage or setting, 130 interrupted.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command line (by default the process's own) and exit with its status.

    A failure is one line on standard error; with ``--json`` among the arguments it is one JSON document there.
    """
    as_json = "--json" in (sys.argv[1:] if arguments is None else arguments)
    try:
        status = cli.main(arguments, prog_name="gossipreg", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough. Python flushes standard output once more at exit; let that go nowhere. The status
        # is the one that click gives when the pipe breaks earlier.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except click.ClickException as error:
        _fail(_usage(error), error.exit_code, "usage", None, as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except (GossipregError, ExceptionGroup) as error:
        failure = _failure(error)
        _fail(
            str(failure),
            2 if isinstance(failure, ConfigError) else 1,
            failure.code,
            failure.field,
            as_json=as_json,
        )
    sys.exit(status if isinstance(status, int) else 0)


def _fail(sentence: str, status: int, code: str, field: str | None, *, as_json: bool) -> NoReturn:
    line = " ".join(sentence.split())
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


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
