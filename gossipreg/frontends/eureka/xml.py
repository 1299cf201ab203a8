"""XML: writes trees as XML, and reads them from XML of untrusted clients.

The standard library's expat does the reading, driven here without a layer between: what makes XML dangerous (entities
that expand without end, files and hosts that are fetched) needs a document type declaration, so a document that has one
is refused at its first letter, and nothing is left for a filter such as defusedxml to do. Depth is bounded here, size
by the HTTP listener.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final
from xml.parsers import expat

import attrs

from gossipreg.frontends.eureka.trees import DEPTH_MAX, KeyedTexts, MalformedDocument, Tree, Value, text_of, unparsable

_PLAIN: Final = re.compile(r"[ !#-%'-;=?-~]*")
_NO_TEXT: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._-]")
_NO_KEY: Final = re.compile(
    "^[^A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u00ff]|[^A-Za-z0-9.\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u00ff-]"
)
_ESCAPE: Final = re.compile(r"__|_-|_[.]([0-9A-Fa-f]{4})")
_ENTITIES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"})


def write_xml(name: str, value: Value) -> str:
    """``value`` as an element called ``name``; a list is one element after the other, and None is no element."""
    if isinstance(value, list):
        return "".join([write_xml(name, each) for each in value])
    if value is None:
        return ""
    tag = xml_name(name)
    if isinstance(value, KeyedTexts):
        return f"<{tag}>{''.join([_keyed(key, each) for key, each in value.items()])}</{tag}>"
    if not isinstance(value, dict):
        return f"<{tag}>{_text(value)}</{tag}>"
    attributes = "".join([f' {xml_name(key[1:])}="{_text(each)}"' for key, each in value.items() if key[:1] == "@"])
    inner = "".join([write_xml(key, each) for key, each in value.items() if key[:1] not in ("@", "$")])
    return f"<{tag}{attributes}>{_text(value.get('$'))}{inner}</{tag}>"


@functools.lru_cache(maxsize=1024)
def xml_name(text: str) -> str:
    """``text`` as the name of an element: what XML has no place for there becomes ``_``."""
    name = _NO_NAME.sub("_", text)
    return name if name[:1].isalpha() or name[:1] == "_" else f"_{name}"


def _keyed(key: str, value: Value) -> str:
    name = name_of_key(key)
    return f"<{name}>{_text(value)}</{name}>"


@functools.lru_cache(maxsize=1024)
def name_of_key(key: str) -> str:
    """The name of the element for a key that a user chose, escaped as XStream does, which Eureka's server writes with.

    An underscore is doubled, a dollar sign is ``_-``, and any other character without a place in a name is ``_.`` with
    its four hexadecimal digits.
    """
    return _NO_KEY.sub(_escaped, key) or "_"


def _escaped(found: re.Match[str]) -> str:
    text = found.group()
    if text == "_":
        return "__"
    if text == "$":
        return "_-"
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"_.{units[place : place + 4]}" for place in range(0, len(units), 4))


def key_of_name(name: str) -> str:
    """The key that a client of Eureka's wrote as an element of that ``name``."""
    if "_" not in name:
        return name
    units = _ESCAPE.sub(_unescaped, name).encode("utf-16-be", "surrogatepass")
    return units.decode("utf-16-be", "surrogatepass")  # two halves of a character, each escaped, are one again


def _unescaped(found: re.Match[str]) -> str:
    text = found.group()
    if text == "__":
        return "_"
    return "$" if text == "_-" else chr(int(found.group(1), 16))


def _text(value: Value) -> str:
    text = text_of(value)
    return text if _PLAIN.fullmatch(text) else _NO_TEXT.sub("\ufffd", text).translate(_ENTITIES)


def read_xml(body: bytes) -> Tree:
    """The one element of a document under its name. Raises ``MalformedDocument``."""
    reading = _Reading()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reading.refuse
    parser.StartElementHandler = reading.start
    parser.CharacterDataHandler = reading.text
    parser.EndElementHandler = reading.end
    try:
        parser.Parse(body, True)
    except MalformedDocument:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter two for encodings that are not known
        raise unparsable(f"the body is not XML that can be read: {error}") from None
    return reading.document


@attrs.define(eq=False, repr=False)
class _Element:
    inner: dict[str, Value]
    said: list[str] = attrs.field(factory=list)

    def value(self) -> Value:
        """A text for an element that has nothing else; the text beside attributes is called ``$``."""
        text = "".join(self.said)
        if not self.inner:
            return text
        if all(key[:1] == "@" for key in self.inner):
            return {**self.inner, "$": text}
        return self.inner


@attrs.define(eq=False, repr=False)
class _Reading:
    document: Tree = attrs.field(factory=dict)
    _open: list[_Element] = attrs.field(factory=list)

    def refuse(self, *_: Any) -> None:
        raise unparsable("the body has a document type declaration: send it without <!DOCTYPE>")

    def start(self, _name: str, attributes: dict[str, str]) -> None:
        if len(self._open) == DEPTH_MAX:
            raise unparsable(f"the body's elements are more than {DEPTH_MAX} deep")
        self._open.append(_Element({f"@{key}": value for key, value in attributes.items()}))

    def text(self, text: str) -> None:
        self._open[-1].said.append(text)

    def end(self, name: str) -> None:
        value = self._open.pop().value()
        into = self._open[-1].inner if self._open else self.document
        before = into.get(name)
        if before is None:
            into[name] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            into[name] = [before, value]
