"""Escaping: text of an instance's owner as a value that means nothing else in the file that it is rendered into.

Each form includes the quotes. Line ends and other characters that are not printable are spaces before any of this
(`template_data`), so no value can begin a line of its own.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from gossipreg.model import Instance

_ODD: Final = re.compile(r"[^A-Za-z0-9_.-]")
_NOT_IN_NAMES: Final = re.compile(rb"[^A-Za-z0-9.-]")

_NOT_CADDYS: Final = re.compile(r"[`{}]")

#: What template files end in; the suffix before says what is made of them.
_TEMPLATE_SUFFIXES: Final = (".j2", ".jinja", ".jinja2", ".tmpl", ".template")


def slug(value: object) -> str:
    """``value`` as a word that means nothing in any file: what is no letter, digit, ``.``, ``-`` or ``_`` is ``_``."""
    return _ODD.sub("_", str(value))


def unique_name(instance: Instance) -> str:
    """A name of letters, digits, ``.``, ``-``, ``_`` and ``:`` that no other instance has.

    The id and the owner, since two owners may use one id. Any other byte is ``_`` and its two hexadecimal digits, and
    so is ``_``: two different ids never become one.
    """
    return ":".join(
        _NOT_IN_NAMES.sub(lambda odd: b"_%02x" % odd[0][0], part.encode()).decode()
        for part in (instance.id, instance.owner)
    )


def quoted(value: object) -> str:
    r"""``value`` in double quotes, with ``\`` before each ``"`` and ``\`` in it."""
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def nginx(value: object) -> str:
    """``value`` as one parameter of an nginx directive. ``$`` becomes ``_``: nginx cannot escape it."""
    return quoted(str(value).replace("$", "_"))


def haproxy(value: object) -> str:
    """``value`` as one word of HAProxy's configuration. Where a directive takes a log format, double each ``%``."""
    return quoted(value).replace("$", "\\$")


def caddy(value: object) -> str:
    """``value`` as one token of a Caddyfile. Backticks and braces become ``_``: Caddy reads braces even in quotes."""
    return f"`{_NOT_CADDYS.sub('_', str(value))}`"


def shell(value: object) -> str:
    """``value`` as one word of a POSIX shell."""
    return shlex.quote(str(value))


def as_json(value: Any) -> str:
    """``value`` in JSON, which is YAML too: a text, a number, or tags and meta as a whole."""
    match value:
        case Mapping():
            value = dict(value)
        case tuple() | list():
            value = list(value)
    return json.dumps(value, ensure_ascii=False, default=str)


#: The form of each kind of file, by its name as a filter.
FORMS: Final[Mapping[str, Callable[[Any], str]]] = {
    "nginx": nginx,
    "haproxy": haproxy,
    "caddy": caddy,
    "shell": shell,
    "json": as_json,
    "yaml": as_json,
}

_BY_SUFFIX: Final[Mapping[str, Callable[[Any], str]]] = {
    ".conf": nginx,
    ".cfg": haproxy,
    ".caddy": caddy,
    ".sh": shell,
    ".env": shell,
    ".json": as_json,
    ".yaml": as_json,
    ".yml": as_json,
}


def form_of(file: Path) -> Callable[[Any], str]:
    """The form for what is rendered into ``file``, or from it if it is a template, by its suffix; else `quoted`."""
    name = file.with_suffix("") if file.suffix in _TEMPLATE_SUFFIXES else file
    return caddy if name.name == "Caddyfile" else _BY_SUFFIX.get(name.suffix, quoted)


def is_ip(host: object) -> bool:
    """Whether ``host`` is an IP address without a zone, which is all that some programs take for an address."""
    try:
        return "%" not in str(host) and bool(ip_address(str(host)))
    except ValueError:
        return False
