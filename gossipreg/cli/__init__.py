"""The `gossipreg` command: its subcommands, and every failure in one line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NoReturn

import click

from gossipreg.cli.agent import agent
from gossipreg.cli.checks import checks, heartbeat, maintenance
from gossipreg.cli.credentials import credentials
from gossipreg.cli.demo import demo
from gossipreg.cli.help_page import SectionedGroup
from gossipreg.cli.keygen import keygen
from gossipreg.cli.keys import keys
from gossipreg.cli.members import drain, forget, info, leave, members
from gossipreg.cli.migrate import migrate
from gossipreg.cli.policies import policy, weight
from gossipreg.cli.proxy import proxy
from gossipreg.cli.render import render
from gossipreg.cli.roles import role
from gossipreg.cli.services import deregister, lookup, register, services
from gossipreg.cli.sim import sim
from gossipreg.cli.top import top
from gossipreg.cli.watch import watch
from gossipreg.errors import ConfigError, GossipregError

_SECTIONS: Final[Mapping[str, Sequence[click.Command]]] = {
    "Run": (agent, proxy, render, migrate, demo, keygen),
    "Ask the agent": (lookup, services, checks, credentials, members, top, watch, info),
    "Tell the agent": (register, deregister, heartbeat, maintenance, weight, policy, role, keys, drain, forget, leave),
    "Try it out": (sim,),
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
