"""The commands about the cluster's authority. Only publish and members ask an agent."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gossipreg.cli import show, tables
from gossipreg.cli.agent_options import agent_options, as_json
from gossipreg.cli.help_page import SectionedGroup, command
from gossipreg.cli.new_file import write_once
from gossipreg.errors import ConfigError, InvalidCertificate, UnsafeFile

if TYPE_CHECKING:
    from gossipreg.authority import AuthorityKey
    from gossipreg.certificate import Certificate, Revocation
    from gossipreg.cli.client import AgentClient

_DAY: Final = 86_400

#: How far a certificate reaches back (seconds): a node whose clock is a little behind accepts it at once.
_BACK: Final = 300

_PATH: Final = click.Path(path_type=Path)


def _out(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option("--out", metavar="FILE", type=_PATH, required=True, help=f"New file for {what}.")


_authority = click.option(
    "--authority", metavar="FILE", type=_PATH, required=True, help="The authority's key, as ca init wrote it."
)
_days = click.option(
    "--days", metavar="N", type=click.IntRange(1, 3650), default=90, show_default=True, help="How long it counts."
)


@command("init")
@click.option("--cluster", metavar="NAME", required=True, help="The cluster that it is the authority of.")
@_out("the authority's key, for you alone; FILE.pub gets the public one, for the nodes")
@as_json
def init(cluster: str, out: Path, *, as_json: bool) -> None:
    """Make the authority of a cluster. Keep its key offline: who has it can make any node.

    Examples:
      gossipreg ca init --cluster prod --out authority.key
    """
    from gossipreg.authority import AuthorityKey, encode_authority, encode_authority_key
    from gossipreg.model import is_name

    if not is_name(cluster):
        raise ConfigError(f"--cluster {cluster!r:.80} is not a name: use letters, digits and inner '.', '_', '-'")
    made = AuthorityKey.new(cluster)
    write_once(out, encode_authority_key(made))
    public = _public_of(out)
    write_once(public, encode_authority(made.authority), secret=False)
    document = {"authority": made.authority.id, "cluster": cluster, "file": str(out), "public": str(public)}
    show.say(f"authority {made.authority.id} of {cluster} written to {out} and {public}", document, as_json=as_json)


@command("request")
@_out("the node's key, for the agent alone; FILE.pub gets the public one, for ca sign")
@as_json
def request(out: Path, *, as_json: bool) -> None:
    """Make the key of a node, on its host. Only the public key leaves the host.

    Examples:
      gossipreg ca request --out node.key
    """
    from gossipreg.authority import NODE_KEY, PUBLIC_KEY, encode, new_node_key

    key = new_node_key()
    write_once(out, encode(NODE_KEY, key.secret))
    public = _public_of(out)
    write_once(public, encode(PUBLIC_KEY, key.public), secret=False)
    show.say(f"key written to {out} and {public}", {"file": str(out), "public": str(public)}, as_json=as_json)


@command("sign")
@click.argument("public", metavar="PUBLIC", type=_PATH)
@_authority
@_out("the certificate")
@click.option("--name", "names", metavar="NAME", multiple=True, required=True, help="A name that the node may have.")
@click.option("--zone", "zones", metavar="NAME", multiple=True, default=("*",), help="A zone that it may be in.")
@click.option("--service", "services", metavar="NAME", multiple=True, default=("*",), help="A service to offer.")
@click.option("--role", "roles", metavar="NAME", multiple=True, default=("*",), help="A role to claim.")
@click.option(
    "--allow",
    "grants",
    type=click.Choice(("policies", "keys", "tokens", "forget")),
    multiple=True,
    help="What else: set policies and reset terms, change the gossip's keys, manage tokens, have members forgotten.",
)
@_days
@as_json
def sign(
    public: Path,
    *,
    authority: Path,
    out: Path,
    names: tuple[str, ...],
    zones: tuple[str, ...],
    services: tuple[str, ...],
    roles: tuple[str, ...],
    grants: tuple[str, ...],
    days: int,
    as_json: bool,
) -> None:
    """Sign a certificate for the node whose public key is in PUBLIC.

    Names, zones, services and roles may be given several times and may contain "*". Without an option, any zone,
    service and role is allowed. A name with "*" is an identity that all names like it share: each of their nodes can
    speak for the others.

    Examples:
      gossipreg ca sign node.key.pub --authority authority.key --name web-1 --service orders --out web-1.cert
      gossipreg ca sign ops.key.pub --authority authority.key --name ops-1 --allow policies --out ops-1.cert
    """
    from gossipreg.authority import PUBLIC_KEY, decode_key

    by = _read_authority(authority)
    now = int(time.time())
    certificate = by.sign(
        decode_key(PUBLIC_KEY, _line_of(public), where=str(public)),
        names=names,
        zones=zones,
        services=services,
        roles=roles,
        grants=grants,
        not_before=now - _BACK,
        not_after=now + days * _DAY,
    )
    _give(certificate, out, as_json=as_json)


@command("renew")
@click.argument("certificate", metavar="CERTIFICATE", type=_PATH)
@_authority
@_out("the new certificate")
@_days
@as_json
def renew(certificate: Path, authority: Path, out: Path, days: int, *, as_json: bool) -> None:
    """Sign the certificate of a node anew, for the same key and names, from now on.

    The certificate so far counts until its end. An authority that is to take the place of another renews the
    certificates of that one.

    Examples:
      gossipreg ca renew web-1.cert --authority authority.key --out web-1.new.cert
    """
    by, now = _read_authority(authority), int(time.time())
    held = _read_certificate(certificate)
    _give(by.renew(held, not_before=now - _BACK, not_after=now + days * _DAY), out, as_json=as_json)


@command("revoke")
@click.argument("certificate", metavar="CERTIFICATE", type=_PATH)
@_authority
@_out("the revocation")
@as_json
def revoke(certificate: Path, authority: Path, out: Path, *, as_json: bool) -> None:
    """Sign the revocation of a certificate, before its end.

    Examples:
      gossipreg ca revoke web-1.cert --authority authority.key --out web-1.revoked
    """
    from gossipreg.authority import REVOCATION, encode

    by = _read_authority(authority)
    made = by.revoke(_read_certificate(certificate), at=int(time.time()))
    write_once(out, encode(REVOCATION, made.data), secret=False)
    names = ", ".join(made.names)
    show.say(
        f"revocation of certificate {made.serial_text} ({names}) written to {out}",
        {"serial": made.serial_text, "names": list(made.names), "file": str(out)},
        as_json=as_json,
    )


@command("publish")
@click.argument("file", metavar="FILE", type=_PATH)
@agent_options
def publish(agent: AgentClient, file: Path, *, as_json: bool) -> None:
    """Give a revocation, which ca revoke has written to FILE, to the running cluster through one agent.

    Every member expels the holder of the certificate, with its instances and policies. The answer names the credentials
    that are registered now: the holder could read them if it had the credential key.

    Columns when piped, tab-separated, "-" for nothing:
      owner, service, id of credentials to replace

    Examples:
      gossipreg ca publish web-1.revoked
      gossipreg ca publish web-1.revoked --json
    """
    from gossipreg.authority import REVOCATION, decode
    from gossipreg.certificate import Revocation

    line = _line_of(file)
    serial = Revocation.read(decode(REVOCATION, line, where=str(file))).serial_text
    document = agent.put("revocations", body={"revocation": line})
    [gone] = [each for each in document["revoked"] if each["certificate"] == serial]
    rows = [(each["owner"], each["service"], each["id"]) for each in gone["exposed"]]
    show.write(tables.TextTable(("owner", "service", "id"), rows), gone, as_json=as_json)
    named = "it could read these credentials if it had their key" if rows else "no credentials are registered"
    show.note(f"certificate {serial} is revoked at every member; {named}; replace the gossip's key, too")


@command("members")
@agent_options
def members(agent: AgentClient, *, as_json: bool) -> None:
    """List what members prove of themselves: their certificates, until when, and which could not be required to.

    A member is ready if a node with --identity require believes it.

    Columns when piped, tab-separated, "-" for nothing:
      member, ready, certificate, until (UTC), authority

    Examples:
      gossipreg ca members
      gossipreg ca members --json
    """
    document = agent.get("identity")
    rows = [
        (
            each["name"],
            "yes" if each["ready"] else "no",
            each["certificate"] or "",
            "" if each["until"] is None else _time(int(each["until"])),
            each["authority"] or "",
        )
        for each in document["members"]
        if each["present"]
    ]
    show.write(
        tables.TextTable(("member", "ready", "certificate", "until", "authority"), rows), document, as_json=as_json
    )


@command("show")
@click.argument("file", metavar="FILE", type=_PATH)
@as_json
def show_(file: Path, *, as_json: bool) -> None:
    """Show what a certificate, a revocation or an authority's public key says. No secret is shown.

    Times are in UTC. The signature is not verified, which takes the authority.

    Columns when piped, tab-separated, "-" for nothing:
      field, value

    Examples:
      gossipreg ca show web-1.cert
      gossipreg ca show web-1.cert --json
    """
    document = _described(_line_of(file), str(file))
    rows = [(name, ", ".join(value) if isinstance(value, list) else value) for name, value in document.items()]
    show.write(tables.TextTable(("field", "value"), rows), document, as_json=as_json)


def _described(line: str, where: str) -> dict[str, Any]:
    from gossipreg import authority as files
    from gossipreg.certificate import Certificate, Revocation

    kind = line.partition(" ")[0]
    if kind == files.CERTIFICATE:
        certificate = Certificate.read(files.decode(kind, line, where=where))
        return {
            "kind": "certificate",
            **_common(certificate),
            "zones": list(certificate.zones),
            "services": list(certificate.services),
            "roles": list(certificate.roles),
            "allows": list(certificate.grants),
            "from": _time(certificate.not_before),
            "until": _time(certificate.not_after),
        }
    if kind == files.REVOCATION:
        revocation = Revocation.read(files.decode(kind, line, where=where))
        times = {"at": _time(revocation.at), "until": _time(revocation.until)}
        return {"kind": "revocation", **_common(revocation), **times}
    if kind == files.AUTHORITY:
        authority = files.decode_authority(line, where=where)
        return {"kind": "authority", "cluster": authority.cluster, "authority": authority.id}
    raise InvalidCertificate(
        f"{where}: not a certificate, a revocation or an authority's public key: secret keys are not shown"
    )


def _common(document: Certificate | Revocation) -> dict[str, Any]:
    return {
        "cluster": document.cluster,
        "authority": document.authority,
        "serial": document.serial_text,
        "names": list(document.names),
    }


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _public_of(path: Path) -> Path:
    return path.with_name(path.name + ".pub")


def _give(certificate: Certificate, out: Path, *, as_json: bool) -> None:
    from gossipreg.authority import CERTIFICATE, encode

    write_once(out, encode(CERTIFICATE, certificate.data), secret=False)
    names, until = ", ".join(certificate.names), _time(certificate.not_after)
    show.say(
        f"certificate {certificate.serial_text} for {names} until {until} written to {out}",
        {"serial": certificate.serial_text, "names": list(certificate.names), "until": until, "file": str(out)},
        as_json=as_json,
    )


def _read_authority(path: Path) -> AuthorityKey:
    from gossipreg.authority import decode_authority_key

    return decode_authority_key(_line_of(path, secret=True), where=str(path))


def _read_certificate(path: Path) -> Certificate:
    from gossipreg.authority import CERTIFICATE, decode
    from gossipreg.certificate import Certificate

    return Certificate.read(decode(CERTIFICATE, _line_of(path), where=str(path)))


def _line_of(path: Path, *, secret: bool = False) -> str:
    """The one document in a file. Raises `ConfigError`, and `UnsafeFile` if others can read a secret."""
    from gossipreg.authority import lines_of
    from gossipreg.runtime.files import read_file, read_secret

    try:
        text = (read_secret(path) if secret else read_file(path).content).decode("ascii")
    except UnsafeFile:
        raise
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no file that gossipreg ca has written") from None
    lines = lines_of(text)
    if len(lines) != 1:
        raise ConfigError(f"{path} holds {len(lines)} documents, not one")
    return lines[0]


ca = SectionedGroup(
    name="ca",
    help="""Make a cluster's authority and sign certificates.

    Examples:
      gossipreg ca init --cluster prod --out authority.key
      gossipreg ca request --out node.key
      gossipreg ca sign node.key.pub --authority authority.key --name web-1 --out web-1.cert
      gossipreg ca show web-1.cert
    """,
    sections={"Commands": (init, request, sign, renew, revoke, publish, members, show_)},
)
