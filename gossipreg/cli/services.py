"""The commands `services`, `lookup`, `register` and `deregister`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gossipreg import hosts, limits
from gossipreg.cli import show
from gossipreg.cli.agent_options import agent_options, note_isolation
from gossipreg.cli.client import AgentClient
from gossipreg.cli.declare import (
    argument,
    bad_parameter,
    command,
    completes,
    float_range,
    int_range,
    option,
    path,
)
from gossipreg.cli.owner import agent_of
from gossipreg.errors import AgentRefused
from gossipreg.text import nearest, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@command()
@option("--region", metavar="NAME", help="Those of this region.  [default: the agent's own]")
@agent_options
def services(agent: AgentClient, *, as_json: bool, region: str | None) -> None:
    """List the services, and how many of their instances can serve.

    Columns when piped, tab-separated:
      service, healthy, instances

    Examples:
      gossipreg services
      gossipreg services --region eu
      gossipreg services --json
    """
    document = agent.lookup("services", region=region)
    show.write(show.services(document), document, as_json=as_json)
    note_isolation(agent, document)
    if not document["services"]:
        show.note("no service is registered")
    _note_stale_region(document)


@command()
@argument("name", shell_complete=completes("services"))
@option("--all", "every", is_flag=True, help="Also those that cannot serve now, and why.")
@option("--tag", metavar="TAG", help="Only those that carry this tag.")
@option("--zone", metavar="NAME", help="Only those in this zone.")
@option("--role", metavar="NAME", help="Only those in this role.")
@option("--region", metavar="NAME", help="Those in this region.  [default: the agent's own]")
@option(
    "--panic",
    metavar="SHARE",
    type=float_range(0, 1),
    help="When many owners failed at once, and fewer than this share can be reached: also those that were lost.",
)
@agent_options
def lookup(
    agent: AgentClient,
    name: str,
    *,
    as_json: bool,
    every: bool,
    tag: str | None,
    zone: str | None,
    role: str | None,
    region: str | None,
    panic: float | None,
) -> None:
    """List the instances of a service that can be called now.

    Finding none is not a failure: the listing is empty, a note says so on standard error, and the exit status is 0.
    Another note says if the agent hears no other member, so that its answer may be stale.

    Columns when piped, tab-separated, "-" for nothing:
      address, id, health, weight, role, zone, owner, tags, meta, and with --all reason

    Examples:
      gossipreg lookup orders
      gossipreg lookup orders --zone eu-1 --tag canary
      gossipreg lookup orders --region eu
      gossipreg lookup orders --panic 0.5
      gossipreg lookup orders | cut -f1
      gossipreg lookup orders --all --json
    """
    share = None if panic is None else f"{panic:g}"
    asked = {"tag": tag, "zone": zone, "role": role, "panic": share, "region": region}
    document = agent.lookup("services", name, all="true" if every else None, **asked)
    show.write(show.instances(document, reasons=every), document, as_json=as_json)
    note_isolation(agent, document)
    _note_stale_region(document)
    if not document["instances"]:
        others = 0 if every else len(agent.get("services", name, all="true", **asked)["instances"])
        there = f": --all shows {others} that cannot serve, and why" if others else ""
        unknown = None if others else _unknown(agent, name, region)
        show.note(unknown or f"no {'' if every else 'healthy '}instance of {name}{_such(tag, zone, role)}{there}")
    elif not (every or document.get("stale")) and (
        stale := sum(bool(each.get("stale")) for each in document["instances"])
    ):
        show.note(f"{stale} of them stale: known from earlier, and not reachable now")


@command()
@argument("name", shell_complete=completes("services"))
@option("--port", type=int_range(0, 65_535), required=True, help="Port that it listens on; 0: nothing to call.")
@option(
    "--host",
    metavar="HOST",
    callback=lambda _context, _parameter, text: _host(text),
    help="Host or address to call it at.  [default: the agent's own]",
)
@option("--tag", "tags", metavar="TAG", multiple=True, help="A label to find it by; repeatable.")
@option("--meta", "pairs", metavar="KEY=VALUE", multiple=True, help="Anything clients should know; repeatable.")
@option("--weight", type=int_range(0, limits.WEIGHT_MAX), help="Its share of the load; 0 drains it.  [default: 1]")
@option("--role", metavar="NAME", help="Its role, such as primary or replica.")
@option(
    "--term",
    metavar="N|next",
    callback=lambda _context, _parameter, text: _term(text),
    help="Its term as the primary: the highest is called; next: above all that were ever seen.  [default: 0]",
)
@option("--zone", metavar="NAME", help="Where it is.  [default: the agent's zone]")
@option(
    "--id",
    metavar="ID",
    help="Its id; registering it again replaces the instance.  [default: made from service, member, port]",
)
@option("--check", "written", metavar="KIND=TARGET", multiple=True, help="A health check to run; repeatable.")
@option("--checks", "file", metavar="FILE", type=path(), help="TOML file with tables [[checks]].")
@option(
    "--credentials-file",
    "secrets",
    metavar="FILE",
    type=path(),
    help="TOML or JSON file with what a client needs to log in; the agent seals it.",
)
@agent_options
def register(
    agent: AgentClient,
    name: str,
    *,
    as_json: bool,
    tags: tuple[str, ...],
    pairs: tuple[str, ...],
    written: tuple[str, ...],
    file: Path | None,
    secrets: Path | None,
    **given: Any,
) -> None:
    """Register an instance of a service with the agent.

    The agent owns it from now on: every member sees it within moments, and it is gone when it is deregistered, or when
    its agent leaves or fails. The answer is the instance as lookups show it, in the columns of lookup. If it is not
    called as stated (it is fenced, overridden by a policy, or critical until its checks have run), a note on standard
    error says why; with --json it is a field.

    Examples:
      gossipreg register orders --port 8080
      gossipreg register orders --port 8080 --id orders-1 --tag v2 --meta owner=team-a
      gossipreg register db --host 10.0.0.9 --port 5432 --role primary --term next --credentials-file db.toml
      gossipreg register orders --port 8080 --check "http=http://127.0.0.1:8080/health interval=500ms failures=2"
    """
    body = {"service": name, "tags": list(tags), "meta": _meta(pairs)}
    body |= {key: value for key, value in given.items() if value is not None}
    if written or file:
        from gossipreg.cli.checks import checks_given  # with all that checks are made of

        body["checks"] = checks_given(written, file)
    if secrets is not None:
        from gossipreg.cli.credentials import credentials_in

        body["credentials"] = credentials_in(secrets)
    instance = agent.put("instances", body=body)
    show.write(show.instances({"instances": [instance]}), instance, as_json=as_json)
    show.show_note_on(instance)


@command()
@argument("id", shell_complete=completes("own_ids"))
@option(
    "--owner",
    metavar="NAME",
    shell_complete=completes("members"),
    help="The member that owns it, if that is another: its agent is asked, on its host, at the port of --http.",
)
@agent_options
def deregister(agent: AgentClient, id: str, *, as_json: bool, owner: str | None) -> None:
    """Remove an instance that the agent owns.

    With --owner, the agent of that member removes it. It is looked for on the host of the member, at the port of
    --http, and gets the same token.

    Examples:
      gossipreg deregister orders-1
      gossipreg deregister orders-1 --owner web-2
    """
    import shlex

    asked = agent if owner is None else agent_of(agent, owner, f"gossipreg deregister {shlex.quote(id)}")
    try:
        asked.delete("instances", id)
    except AgentRefused as error:
        owners = sorted(_owners(agent, id)) if error.code == "unknown_instance" else ()
        if owner is not None or not owners:
            raise
        hint = " or ".join(f"--owner {name}" for name in owners)
        raise AgentRefused(f"{error} (or pass {hint})", error.code, error.field, is_usage=error.is_usage) from None
    show.say(f"deregistered {id}", {"deregistered": id}, as_json=as_json)


def _owners(agent: AgentClient, id: str) -> set[str]:
    """The members that own an instance of that id, as far as the agent says so in a moment."""
    from gossipreg.cli.completion import PATIENCE, instances_of

    return {each["owner"] for each in instances_of(agent, None, PATIENCE) if each["id"] == id}


def _note_stale_region(document: Mapping[str, Any]) -> None:
    """Note on standard error that an answer about another region is from a while ago, if it is."""
    if document.get("stale"):
        show.note(f"stale: known from {document['age']:.0f} s ago, in {document['region']}, and not reachable now")


def _unknown(agent: AgentClient, name: str, region: str | None) -> str | None:
    """A sentence that there is no service of that name, with the likely one; None if there is one."""
    known = list(agent.get("services", region=region)["services"])
    if name in known:
        return None
    meant = nearest(name, known)
    listing = "gossipreg services" + (f" --region {region}" if region else "")
    hint = f"did you mean {meant}?" if meant else f"see `{listing}`"
    return f"no service {name} is registered{f' in {region}' if region else ''}: {hint}"


def _such(tag: str | None, zone: str | None, role: str | None) -> str:
    """The filters of a lookup, as they go into a sentence."""
    filters = {"tag": tag, "zone": zone, "role": role}
    said = ", ".join(f"{name} {value}" for name, value in filters.items() if value is not None)
    return f" with {said}" if said else ""


def _host(text: str | None) -> str | None:
    """A host that can be called. Raises ``click.BadParameter``."""
    if text is not None and (flaw := hosts.flaw(text)) is not None:
        raise bad_parameter(f"{shown(text)} is {flaw}")
    return text


def _term(text: str | None) -> int | str | None:
    if text is None or text == "next":
        return text
    if not text.isdecimal() or int(text) > limits.TERM_MAX:
        raise bad_parameter(f"{text!r} is neither next nor a whole number up to {limits.TERM_MAX}")
    return int(text)


def _meta(pairs: tuple[str, ...]) -> dict[str, str]:
    meta = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise bad_parameter(f"{pair!r} is not KEY=VALUE", "--meta")
        meta[key] = value
    return meta
