"""Config rules: what the text of one setting has to be, and which settings require or exclude each other."""

from __future__ import annotations

import re
from typing import Any, Final

from gossipreg import hosts, limits
from gossipreg.errors import ConfigError
from gossipreg.federation import AgentPlace, check_region
from gossipreg.fields import Relation
from gossipreg.model import Address, is_name, place
from gossipreg.text import shown

#: The port that a node listens on, UDP and TCP, unless told otherwise.
DEFAULT_PORT: Final = 7940

#: Letters, digits and inner hyphens between dots; a dot at the end may be.
_DOMAIN: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?"
)

#: A key of the node's meta, as Consul has it.
_NODE_META_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")

#: The name of a header (RFC 9110 §5.6.2).
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

#: Longest domain (characters). Whole names end at 253, and a member's name before it may have 63.
_DOMAIN_CHARS_MAX: Final = 128

# The text of one setting: each raises ``ConfigError`` that says what is wrong with it


def read_name(text: str) -> None:
    """The name of a member or a cluster."""
    if not is_name(text):
        raise ConfigError(f"{shown(text)} is not a name: use 1 to 63 letters, digits and inner '.', '_', '-'")


def read_name_or_nothing(text: str) -> None:
    """A name, or an empty text for the default."""
    if text:
        read_name(text)


def read_region(text: str) -> None:
    """The name of a region, or an empty text for the default."""
    if text:
        check_region(text)


def read_issuer(text: str) -> None:
    """The HTTP address of an agent, perhaps as a URL."""
    AgentPlace.parse(text)


def read_address(text: str) -> None:
    """An address to listen on; the port may be left out."""
    Address.parse(text, default_port=DEFAULT_PORT)


def read_called_address(text: str) -> None:
    """An address at which others reach this node; the port may be left out."""
    flaw = hosts.flaw(Address.parse(text, default_port=DEFAULT_PORT).host)
    if flaw is not None:
        raise ConfigError(f"the host of {shown(text)} is {flaw}")


def read_seed(text: str) -> None:
    """The address or host name of a member, whose port is not 0."""
    read_called_address(text)
    Address.parse(text, default_port=DEFAULT_PORT).check_called()


def read_dns(text: str) -> None:
    """An address of the DNS listener, or off."""
    if text != "off":
        try:
            Address.parse(text)
        except ConfigError as error:
            raise ConfigError(f"{error}, or say off") from None


def read_http(text: str) -> None:
    """An address or socket file of the HTTP listener, or off."""
    if text != "off":
        try:
            place(text)
        except ConfigError as error:
            raise ConfigError(f"{error}, or say off") from None


def read_place(text: str) -> None:
    """An address or a socket file."""
    place(text)


def read_agent(text: str) -> None:
    """The address or socket file of an agent, whose port is not 0."""
    found = place(text)
    if isinstance(found, Address):
        found.check_called()


def read_group(text: str) -> None:
    """The name of a group of users of this host."""
    if not text:
        raise ConfigError("the name of a group is empty")


def read_domain(text: str) -> None:
    """A DNS domain, with or without a dot at its end."""
    if len(text) > _DOMAIN_CHARS_MAX or not _DOMAIN.fullmatch(text):
        raise ConfigError(
            f"{shown(text)} is not a domain: use up to {_DOMAIN_CHARS_MAX} characters, "
            "labels of letters, digits and inner '-' with dots between"
        )


def some_domains(domains: tuple[str, ...]) -> None:
    """At least one domain."""
    if not domains:
        raise ConfigError("name at least one domain, or turn DNS off with dns = off")


def read_node_meta(text: str) -> None:
    """An entry of the node's meta, as KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not equals or not _NODE_META_KEY.fullmatch(key) or len(value) > limits.NODE_META_VALUE_CHARS_MAX:
        raise ConfigError(
            f"{shown(text)} is not KEY=VALUE: use a key of up to 128 letters, digits, '_' and '-', and a value of up "
            f"to {limits.NODE_META_VALUE_CHARS_MAX} characters"
        )


def unique_keys(pairs: tuple[str, ...]) -> None:
    """Entries of the node's meta: each key once, and not too many."""
    keys = [pair.partition("=")[0] for pair in pairs]
    if len(keys) > limits.NODE_META_ENTRIES_MAX:
        raise ConfigError(f"{len(keys)} entries are too many: {limits.NODE_META_ENTRIES_MAX} is the limit")
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(f"{shown(key)} is there twice")


def read_header(text: str) -> None:
    """The name of an HTTP header."""
    if not _HEADER.fullmatch(text):
        raise ConfigError(f"{shown(text)} is not the name of a header")


def read_token(text: str) -> None:
    """A token of the HTTP API."""
    if not text or not all("!" <= each <= "~" for each in text):
        raise ConfigError("a token is printable ASCII characters without a space")


# Relations between two settings


def same_port(one: str, other: str) -> Relation:
    """Two listeners may not want the same port of the same address."""

    def wrong(config: Any) -> str | None:
        mine, others = (_listener(getattr(config, name), name) for name in (one, other))
        if mine is None or mine != others:
            return None
        return f"{mine} is that of {other} too: give each a port of its own"

    return Relation((one, other), f"`{one}` and `{other}` have ports of their own", wrong)


def _listener(text: str | None, name: str) -> Address | None:
    """Where a setting would have the node listen, if at a port that is taken by that."""
    if text is None or text == "off" or text.startswith("unix:"):
        return None
    address = Address.parse(text, default_port=DEFAULT_PORT if name == "bind" else None)
    return address if address.port else None


def one_of(one: str, other: str) -> Relation:
    """One setting may be given, or the other."""

    def wrong(config: Any) -> str | None:
        if getattr(config, one) is None or getattr(config, other) is None:
            return None
        return f"{other} is given, too: give one of them, not both"

    return Relation((one, other), f"not both `{one}` and `{other}`", wrong)


def goes_with(one: str, other: str) -> Relation:
    """Neither setting may be given without the other."""

    def wrong(config: Any) -> str | None:
        if (getattr(config, one) is None) == (getattr(config, other) is None):
            return None
        given, missing = (one, other) if getattr(config, other) is None else (other, one)
        return f"{given} is given without {missing}: give both"

    return Relation((one, other), f"`{one}` with `{other}`", wrong)


def needs(one: str, other: str) -> Relation:
    """One setting is of use with the other only."""

    def wrong(config: Any) -> str | None:
        if getattr(config, one) is None or getattr(config, other) is not None:
            return None
        return f"it is given without {other}: give that, too"

    return Relation((one, other), f"`{one}` with `{other}` only", wrong)


def given_with(one: str, other: str) -> Relation:
    """One setting is of use with the other only, which may be a list."""

    def wrong(config: Any) -> str | None:
        return (
            f"it is given without {other}: give that, too"
            if getattr(config, one) and not getattr(config, other)
            else None
        )

    return Relation((one, other), f"`{one}` with `{other}` only", wrong)


def listens_with(one: str, other: str) -> Relation:
    """A listener that needs a file."""

    def wrong(config: Any) -> str | None:
        if getattr(config, one) == "off" or getattr(config, other) not in (None, "off"):
            return None
        return f"it is given without {other}: give that, too"

    return Relation((one, other), f"`{one}` with `{other}` only", wrong)
