"""A document is the same tree in XML and in JSON, and what could do harm is refused."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.frontends.eureka.documents import DocumentFormat, read
from gossipreg.frontends.eureka.trees import DEPTH_MAX, KeyedTexts, MalformedDocument, Tree, Value
from gossipreg.frontends.eureka.xml import key_of_name, xml_name

_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r", min_codepoint=32), max_size=20)
_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9._-]{0,10}", fullmatch=True)
_TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(_NAMES, _TEXTS, min_size=1, max_size=4),
    lambda inner: st.dictionaries(_NAMES, _TEXTS | inner, min_size=1, max_size=4),
    max_leaves=8,
)


@given(_TREES)
def test_what_is_written_as_xml_is_read_as_it_was(tree: Tree) -> None:
    assert read(DocumentFormat.XML.part("instance", tree)) == {"instance": _said(tree)}


def _said(tree: Value) -> Value:
    """XML cannot say some characters."""
    if isinstance(tree, dict):
        return {key: _said(value) for key, value in tree.items()}
    return "".join("\ufffd" if c in "\ufffe\uffff" else c for c in str(tree))


@given(_TREES)
def test_what_is_written_as_json_is_read_as_it_was(tree: Tree) -> None:
    assert read(DocumentFormat.JSON.alone("instance", DocumentFormat.JSON.part("instance", tree))) == {"instance": tree}


def test_attributes_have_an_at_sign_and_the_text_beside_them_a_dollar() -> None:
    port: Tree = {"$": 8080, "@enabled": "true"}
    assert DocumentFormat.XML.part("port", port) == b'<port enabled="true">8080</port>'
    assert read(b'<port enabled="true">8080</port>') == {"port": {"@enabled": "true", "$": "8080"}}


def test_a_list_is_an_element_that_comes_again_and_nothing_is_no_element() -> None:
    tree: Tree = {"a": ["1", "2", "3"], "b": None, "c": True}
    assert DocumentFormat.XML.part("x", tree) == b"<x><a>1</a><a>2</a><a>3</a><c>true</c></x>"
    assert read(b"<x><a>1</a><a>2</a><a>3</a></x>") == {"x": {"a": ["1", "2", "3"]}}


def test_what_xml_has_no_place_for_is_put_in_other_words() -> None:
    tree: Tree = {"two words": 'a<b>&"c"', "1st": "\x00\ud800", "": "x", "@a b": '"', "k\u00e9y": "\u00e9"}
    document = DocumentFormat.XML.part("m", tree)
    assert {each.tag: each.text for each in ET.fromstring(document)} == {
        "two_words": 'a<b>&"c"',
        "_1st": "\ufffd\ufffd",
        "_": "x",
        "k_y": "\u00e9",
    }


@given(st.text())
def test_anything_becomes_a_name(text: str) -> None:
    assert ET.fromstring(f"<{xml_name(text)}/>").tag == xml_name(text)


#: Keys of metadata, and the elements that Eureka's server writes for them (XStream's escapes, seen on the wire).
ESCAPED = {
    "1a": "_.0031a",
    "@a": "_.0040a",
    "$": "_-",
    "_u": "__u",
    "a_b": "a__b",
    "two words": "two_.0020words",
    "a<": "a_.003c",
    "a\u00e9": "a\u00e9",
    "h.i-j": "h.i-j",
}


@pytest.mark.parametrize(("key", "name"), ESCAPED.items())
def test_keys_of_metadata_are_escaped_in_xml_as_eureka_does(key: str, name: str) -> None:
    document = DocumentFormat.XML.part("metadata", KeyedTexts({key: "x"}))
    assert [each.tag for each in ET.fromstring(document)] == [name]
    assert key_of_name(name) == key


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12))
def test_any_key_of_metadata_is_read_again_as_it_was(key: str) -> None:
    [element] = ET.fromstring(DocumentFormat.XML.part("metadata", KeyedTexts({key: ""})))
    units = key_of_name(element.tag).encode("utf-16-be", "surrogatepass")
    assert units.decode("utf-16-be") == key


def test_only_a_client_that_says_json_gets_json() -> None:
    assert DocumentFormat.accepted(None) is DocumentFormat.XML
    assert DocumentFormat.accepted("*/*") is DocumentFormat.XML
    assert DocumentFormat.accepted("application/xml, */*") is DocumentFormat.XML
    assert DocumentFormat.accepted("application/json, application/*+json") is DocumentFormat.JSON
    assert DocumentFormat.accepted("application/JSON") is DocumentFormat.JSON


@pytest.mark.parametrize("form", DocumentFormat)
def test_applications_are_put_together_of_their_parts(form: DocumentFormat) -> None:
    app = form.application("ORDERS", [form.part("instance", {"app": "ORDERS"})] * 2)
    found = {"name": "ORDERS", "instance": [{"app": "ORDERS"}, {"app": "ORDERS"}]}
    document = form.applications({"versions__delta": "7"}, [app, app])
    assert read(document)["applications"] == {"versions__delta": "7", "application": [found, found]}
    assert read(form.alone("application", b"".join(app))) == {"application": found}


def test_no_applications_are_an_empty_list() -> None:
    assert json.loads(DocumentFormat.JSON.applications({"a": "b"}, [])) == {
        "applications": {"a": "b", "application": []}
    }
    assert DocumentFormat.XML.applications({"a": "b"}, []) == b"<applications><a>b</a></applications>"


_BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>'
_THIEF = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><x>&f;</x>'


@pytest.mark.parametrize("body", [_BOMB, _THIEF, b"<!DOCTYPE x><x/>", _BOMB.decode().encode("utf-16")])
def test_a_document_with_a_type_declaration_is_refused_before_it_is_read(body: bytes) -> None:
    with pytest.raises(MalformedDocument, match="DOCTYPE"):
        read(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"<",
        b"<a>",
        b"<a></b>",
        b"<a/><b/>",
        b"<a>&b;</a>",
        b"<a b='1' b='2'/>",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"<?xml version='1.0' encoding='no-such'?><a/>",
        b"<?xml version='1.0' encoding='shift_jis'?><a>x</a>",
        b"<a>\xff</a>",
        b"[]",
        b"1",
        b"{",
        b"\x00",
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b'{"\\ud800": "a"}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 5000,
        b'{"a":' * (DEPTH_MAX + 2) + b"1" + b"}" * (DEPTH_MAX + 2),
        b"<%b/>" % (b"a" * 129),
        b'{"%b": 1}' % (b"a" * 129),
        b"<a>" * (DEPTH_MAX + 1) + b"</a>" * (DEPTH_MAX + 1),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_sentence(body: bytes) -> None:
    with pytest.raises(MalformedDocument) as refused:
        read(body)
    assert "\n" not in str(refused.value)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: b"<a>" + tail))
def test_anything_at_all_is_read_or_refused(body: bytes) -> None:
    try:
        tree = read(body)
    except MalformedDocument:
        return
    for form in DocumentFormat:
        form.part("instance", tree)
