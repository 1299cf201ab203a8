"""The commands about the cluster's authority. Only publish and members ask an agent."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gossipreg.cli import show, tables
from gossipreg.cli.agent_options import agent_options, as_json
from gossipreg.cli.authority_files import (
    AUTHORITY_OPTION,
    DAY_SECONDS,
    PATH,
    days_option,
    line_of,
    out_option,
    permit_options,
    read_authority,
    time_text,
)
from gossipreg.cli.help_page import SectionedGroup, command
from gossipreg.cli.issuers import delegate, token
from gossipreg.cli.new_file import write_once
from gossipreg.errors import ConfigError, InvalidCertificate

if TYPE_CHECKING:
    from gossipreg.certificate import Certificate, Permit
    from gossipreg.cli.client import AgentClient
    from gossipreg.delegation import Delegation
    from gossipreg.revocation import Revocation

#: How far a certificate reaches back (seconds): as `gossipreg.certificate` has it, which is imported by few commands.
_BACK_SECONDS: Final = 300

_days = days_option("the certificate", 90)


@command("init")
@click.option("--cluster", metavar="NAME", required=True, help="The cluster that it is the authority of.")
@out_option("the authority's key, for you alone; FILE.pub gets the public one, for the nodes")
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
@out_option("the node's key, for the agent alone; FILE.pub gets the public one, for ca sign")
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
@click.argument("public", metavar="PUBLIC", type=PATH)
@AUTHORITY_OPTION
@out_option("the certificate")
@permit_options(otherwise="any", default=("*",))
@_days
@as_json
def sign(public: Path, *, authority: Path, out: Path, days: int, as_json: bool, **permitted: tuple[str, ...]) -> None:
    """Sign a certificate for the node whose public key is in PUBLIC.

    Names, zones, services and roles may be given several times and may contain "*". A name with "*" is an identity that
    all names like it share: each of their nodes can speak for the others.

    Examples:
      gossipreg ca sign node.key.pub --authority authority.key --name web-1 --service orders --out web-1.cert
      gossipreg ca sign ops.key.pub --authority authority.key --name ops-1 --allow policies --out ops-1.cert
    """
    from gossipreg.authority import PUBLIC_KEY, decode_key

    by = read_authority(authority)
    now = int(time.time())
    certificate = by.sign(
        decode_key(PUBLIC_KEY, line_of(public), where=str(public)),
        **permitted,
        not_before=now - _BACK_SECONDS,
        not_after=now + days * DAY_SECONDS,
    )
    _give(certificate, out, as_json=as_json)


@command("renew")
@click.argument("certificate", metavar="CERTIFICATE", type=PATH)
@AUTHORITY_OPTION
@out_option("the new certificate")
@_days
@as_json
def renew(certificate: Path, authority: Path, out: Path, days: int, *, as_json: bool) -> None:
    """Sign the certificate of a node anew, for the same key and names, from now on.

    The certificate so far counts until its end. An authority that is to take the place of another renews the
    certificates of that one.

    Examples:
      gossipreg ca renew web-1.cert --authority authority.key --out web-1.new.cert
    """
    by, now = read_authority(authority), int(time.time())
    held = _read_certificate(certificate)
    _give(by.renew(held, not_before=now - _BACK_SECONDS, not_after=now + days * DAY_SECONDS), out, as_json=as_json)


@command("revoke")
@click.argument("certificate", metavar="CERTIFICATE", type=PATH)
@AUTHORITY_OPTION
@click.option(
    "--issuer",
    "delegation",
    metavar="FILE",
    type=PATH,
    help="The delegation of the issuer that has signed CERTIFICATE.",
)
@out_option("the revocation")
@as_json
def revoke(certificate: Path, authority: Path, out: Path, delegation: Path | None, *, as_json: bool) -> None:
    """Sign the revocation of a certificate, before its end, or of a delegation with all that its issuer has signed.

    An issuer keeps the serial number of a certificate that it renews: a revocation of any of them is one of all.

    Examples:
      gossipreg ca revoke web-1.cert --authority authority.key --out web-1.revoked
      gossipreg ca revoke web-7.cert --issuer issuer.delegation --authority authority.key --out web-7.revoked
      gossipreg ca revoke issuer.delegation --authority authority.key --out issuer.revoked
    """
    from gossipreg.authority import DELEGATION, REVOCATION, encode

    by = read_authority(authority)
    line = line_of(certificate)
    is_delegation = line.partition(" ")[0] == DELEGATION
    held = _delegation_in(line, certificate) if is_delegation else _read_certificate(certificate)
    issuers = () if delegation is None else (_delegation_in(line_of(delegation), delegation),)
    made = by.revoke(held, at=int(time.time()), delegations=issuers)
    write_once(out, encode(REVOCATION, made.data), secret=False)
    names = ", ".join(made.names)
    show.say(
        f"revocation of certificate {made.serial_text} ({names}) written to {out}",
        {"serial": made.serial_text, "names": list(made.names), "file": str(out)},
        as_json=as_json,
    )


@command("publish")
@click.argument("file", metavar="FILE", type=PATH)
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
    from gossipreg.revocation import Revocation

    line = line_of(file)
    revocation = Revocation.read(decode(REVOCATION, line, where=str(file)))
    serial = revocation.serial_text
    document = agent.put("revocations", body={"revocation": line})
    said = serial, list(revocation.names)
    gone = next(each for each in document["revoked"] if (each["certificate"], each["names"]) == said)
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
            "" if each["until"] is None else time_text(int(each["until"])),
            each["authority"] or "",
        )
        for each in document["members"]
        if each["present"]
    ]
    show.write(
        tables.TextTable(("member", "ready", "certificate", "until", "authority"), rows), document, as_json=as_json
    )


@command("show")
@click.argument("file", metavar="FILE", type=PATH)
@as_json
def show_(file: Path, *, as_json: bool) -> None:
    """Show what a certificate, revocation, delegation or authority's public key says; no secrets.

    Times are in UTC. The signature is not verified, which takes the authority.

    Columns when piped, tab-separated, "-" for nothing:
      field, value

    Examples:
      gossipreg ca show web-1.cert
      gossipreg ca show web-1.cert --json
    """
    document = _described(line_of(file), str(file))
    rows = [(name, ", ".join(value) if isinstance(value, list) else value) for name, value in document.items()]
    show.write(tables.TextTable(("field", "value"), rows), document, as_json=as_json)


def _described(line: str, where: str) -> dict[str, Any]:
    from gossipreg import authority as files
    from gossipreg.certificate import Certificate
    from gossipreg.delegation import Delegation
    from gossipreg.revocation import Revocation
    from gossipreg.signed_document import authority_id

    kind = line.partition(" ")[0]
    if kind == files.CERTIFICATE:
        certificate = Certificate.read(files.decode(kind, line, where=where))
        return {
            "kind": "certificate",
            **_common(certificate),
            **_patterns(certificate),
            **_span(certificate),
        }
    if kind == files.REVOCATION:
        revocation = Revocation.read(files.decode(kind, line, where=where))
        times = {"at": time_text(revocation.at), "until": time_text(revocation.until)}
        return {"kind": "revocation", **_common(revocation), **times}
    if kind == files.DELEGATION:
        delegation = Delegation.read(files.decode(kind, line, where=where))
        return {
            "kind": "delegation",
            **_common(delegation),
            "issuer": authority_id(delegation.public),
            "agent": delegation.agent,
            **_patterns(delegation),
            "lifetime": delegation.lifetime,
            **_span(delegation),
        }
    if kind == files.AUTHORITY:
        authority = files.decode_authority(line, where=where)
        return {"kind": "authority", "cluster": authority.cluster, "authority": authority.id}
    raise InvalidCertificate(
        f"{where}: not a certificate, revocation, delegation or authority's public key: secret keys are not shown"
    )


def _patterns(permit: Permit) -> dict[str, list[str]]:
    return {
        "zones": list(permit.zones),
        "services": list(permit.services),
        "roles": list(permit.roles),
        "allows": list(permit.grants),
    }


def _span(permit: Permit) -> dict[str, str]:
    return {"from": time_text(permit.not_before), "until": time_text(permit.not_after)}


def _common(document: Permit | Revocation) -> dict[str, Any]:
    return {
        "cluster": document.cluster,
        "authority": document.authority,
        "serial": document.serial_text,
        "names": list(document.names),
    }


def _public_of(path: Path) -> Path:
    return path.with_name(path.name + ".pub")


def _give(certificate: Certificate, out: Path, *, as_json: bool) -> None:
    from gossipreg.authority import CERTIFICATE, encode

    write_once(out, encode(CERTIFICATE, certificate.data), secret=False)
    names, until = ", ".join(certificate.names), time_text(certificate.not_after)
    show.say(
        f"certificate {certificate.serial_text} for {names} until {until} written to {out}",
        {"serial": certificate.serial_text, "names": list(certificate.names), "until": until, "file": str(out)},
        as_json=as_json,
    )


def _read_certificate(path: Path) -> Certificate:
    from gossipreg.authority import CERTIFICATE, decode
    from gossipreg.certificate import Certificate

    return Certificate.read(decode(CERTIFICATE, line_of(path), where=str(path)))


def _delegation_in(line: str, path: Path) -> Delegation:
    from gossipreg.authority import DELEGATION, decode
    from gossipreg.delegation import Delegation

    return Delegation.read(decode(DELEGATION, line, where=str(path)))


ca = SectionedGroup(
    name="ca",
    help="""Make a cluster's authority and sign certificates.

    Examples:
      gossipreg ca init --cluster prod --out authority.key
      gossipreg ca request --out node.key
      gossipreg ca sign node.key.pub --authority authority.key --name web-1 --out web-1.cert
      gossipreg ca show web-1.cert
    """,
    sections={
        "Certificates": (init, request, sign, renew, revoke, publish, members, show_),
        "Issuers": (delegate, token),
    },
)
