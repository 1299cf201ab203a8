"""The `render` command: keeps a configuration file in step with the registry."""

from __future__ import annotations

from pathlib import Path

import click

from gossipreg.cli.agent_options import agent_option, duration
from gossipreg.cli.client import AgentClient
from gossipreg.cli.help_page import command as page_command
from gossipreg.cli.logs import write_logs
from gossipreg.errors import ConfigError


@page_command()
@click.argument("template", type=click.Path(path_type=Path))
@click.option("--out", "file", metavar="FILE", type=click.Path(path_type=Path), help="The file to keep.")
@click.option("--exec", "line", metavar="CMD", help="Run by the shell when the file has changed.")
@click.option("--once", is_flag=True, help="Render once and end; without --out, to standard output.")
@click.option(
    "--interval-min",
    "interval",
    metavar="SECONDS",
    default="1s",
    show_default=True,
    type=duration,
    help="Least time from one rendering to the next, such as 500ms.",
)
@click.option("--allow-empty", is_flag=True, help="Accept an empty service at once, even from a new or isolated agent.")
@agent_option
def render(
    agent: AgentClient,
    template: Path,
    *,
    file: Path | None,
    line: str | None,
    once: bool,
    interval: float,
    allow_empty: bool,
) -> None:
    """Keep a file in step with the registry, from a template.

    The template is jinja2's. It sees services, instances(SERVICE, tag=, zone=, role=, all=), members and policies. The
    file is replaced in one step whenever its content has changed; then the command is run. The first of several changes
    is rendered at once, those that follow within --interval-min together.

    While the agent is away, or the template cannot be rendered, the file stays as it is. If the agent has just been
    started, or hears no other member, a service that seems to have lost all its instances keeps them in the file.
    SIGHUP renders anew; SIGTERM or Ctrl-C ends.

    Examples:
      gossipreg render upstream.j2 --out /etc/nginx/conf.d/orders.conf --exec "nginx -s reload"
      gossipreg render hosts.j2 --once
    """
    if file is None and not once:
        raise click.UsageError("--out FILE is missing: name the file to keep, or print the text with --once")
    if file is None and line is not None:
        raise click.UsageError("--exec goes with --out FILE: without one nothing is changed")
    try:
        from gossipreg.cli.run_render import (  # with jinja2, which only this command needs
            keep_rendered,
            render_once,
            show,
        )
    except ModuleNotFoundError as error:
        if error.name != "jinja2":
            raise
        raise ConfigError('render needs jinja2, which is not installed: pip install "gossipreg[render]"') from None
    write_logs("text")
    from gossipreg.frontends.render.command import Command

    command = None if line is None else Command(line)
    if file is None:
        show(agent, template)
    elif once:
        render_once(agent, template, file, command, allow_empty=allow_empty)
    else:
        keep_rendered(agent, template, file, command, interval=interval, allow_empty=allow_empty)
