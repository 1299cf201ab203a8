"""Documents: how Eureka's trees are read and written, as JSON or as XML."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from typing import NamedTuple

from gossipreg.frontends.eureka.trees import Tree, Value, check_values, unparsable
from gossipreg.json_documents import read_json as read_document


class DocumentFormat(enum.Enum):
    """How a document is written: XML, unless JSON was asked for."""

    XML = b"application/xml"
    JSON = b"application/json"

    @classmethod
    def accepted(cls, accept: str | None) -> DocumentFormat:
        """What a client wants that sends this ``Accept``. Eureka looks for the word alone, and clients rely on it."""
        return cls.JSON if accept is not None and "json" in accept.lower() else cls.XML

    def part(self, name: str, tree: Value) -> bytes:
        """``tree`` as it is written below ``name``: with that as its tag in XML, and without it in JSON."""
        if self is DocumentFormat.JSON:
            return json.dumps(tree, separators=(",", ":")).encode("ascii")
        from gossipreg.frontends.eureka.xml import write_xml

        return write_xml(name, tree).encode()

    def extended(self, part: bytes, name: str, key: str, text: str) -> bytes:
        """``part``, which was written as ``name``, with one more thing said in it."""
        if self is DocumentFormat.JSON:
            return b'%b,"%b":"%b"}' % (part[:-1], key.encode(), text.encode())
        end = f"</{name}>".encode()
        return part.removesuffix(end) + self.part(key, text) + end

    def application(self, name: str, instances: list[bytes]) -> list[bytes]:
        """An application as it is written below others, of instances that each are written by themselves.

        In parts, which are not joined here: documents are large, and each copy of one takes milliseconds.
        """
        if self is DocumentFormat.JSON:
            return [b'{"name":%b,"instance":[' % self.part("name", name), b",".join(instances), b"]}"]
        return [b"<application>%b" % self.part("name", name), *instances, b"</application>"]

    def applications(self, head: Tree, applications: Iterable[list[bytes]]) -> bytes:
        """The document of applications that each are written by themselves, after what is said of all."""
        if self is DocumentFormat.JSON:
            begin, comma, end = b'{"applications":%b,"application":[' % self.part("", head)[:-1], b",", b"]}}"
        else:
            said = b"".join([self.part(key, value) for key, value in head.items()])
            begin, comma, end = b"<applications>%b" % said, b"", b"</applications>"
        parts = [begin]
        for number, application in enumerate(applications):
            parts += [comma, *application] if number else application
        return b"".join([*parts, end])

    def alone(self, name: str, part: bytes) -> bytes:
        """The document that has but one ``part``."""
        return b'{"%b":%b}' % (name.encode(), part) if self is DocumentFormat.JSON else part


class DocumentForm(NamedTuple):
    """How a list of instances is written for a client: its format, and whether in few fields or all."""

    format: DocumentFormat
    compact: bool = False

    @classmethod
    def accepted(cls, accept: str | None, eureka_accept: str | None) -> DocumentForm:
        """What a client wants that sends these ``Accept`` and ``X-Eureka-Accept``."""
        is_compact = eureka_accept is not None and eureka_accept.strip().lower() == "compact"
        return cls(DocumentFormat.accepted(accept), is_compact)


#: All forms.
FORMS = tuple(DocumentForm(each, compact) for each in DocumentFormat for compact in (False, True))


def format_of(body: bytes) -> DocumentFormat:
    """The format of ``body``, which its first letter tells: not all clients say so, or say it right."""
    start = body.lstrip()[:1]
    return DocumentFormat.XML if start in (b"<", b"\xef", b"\xfe", b"\xff") and start else DocumentFormat.JSON


def read(body: bytes) -> Tree:
    """The document in ``body``. Raises ``MalformedDocument``."""
    if format_of(body) is DocumentFormat.XML:
        from gossipreg.frontends.eureka.xml import read_xml

        tree = read_xml(body)
        check_values(tree)
        return tree
    return read_json(body)


def read_json(text: bytes | str) -> Tree:
    """The JSON object in ``text``. Raises ``MalformedDocument``, also for what could be read but not written again."""
    try:
        value = read_document(text)
    except ValueError as error:
        raise unparsable(f"this is neither JSON nor XML that can be read: {error}") from None
    if not isinstance(value, dict):
        raise unparsable("this is JSON, but not an object")
    check_values(value)
    return value
