"""Targets of the Eureka API: posted instances, as JSON and as XML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final
from xml.parsers import expat

from gossipreg.errors import InvalidInstance
from gossipreg.frontends.eureka.documents import FORMS, DocumentFormat, format_of, read
from gossipreg.frontends.eureka.instance_document import InstanceDocument
from gossipreg.frontends.eureka.posted_instance import PostedInstance
from gossipreg.frontends.eureka.trees import MalformedDocument, Tree
from gossipreg.frontends.eureka.xml import write_xml
from tests.fuzz.target import Target, check_error_text, outcome

_NOW: Final = 1_767_225_600_000


def _eureka(data: bytes) -> str:
    """Read it as a post to the application ``WEB``, and show what was posted."""
    try:
        tree = read(data)
    except MalformedDocument as error:
        check_error_text(error)
        return f"{outcome(error)} {str(error)[:24]}"
    _written(tree)
    try:
        posted = PostedInstance.read("WEB", tree, _NOW, format_of(data))
        instance = posted.spec(posted.id).instance(member="alpha", host="127.0.0.1", zone="")
    except (MalformedDocument, InvalidInstance) as error:
        check_error_text(error)
        return f"{outcome(error)} {str(error)[:24]}"
    again = PostedInstance.of(instance)
    assert again is not None, "a posted instance is preserved"
    shown = InstanceDocument.of(instance, healthy=True)
    for form in FORMS:
        document = form.format.alone("instance", shown.written(form))
        if form.format is DocumentFormat.JSON:
            require_types(json.loads(document)["instance"])
        else:
            _parse(document)
    return f"posted {posted.status} {bool(posted.info.metadata)}"


#: What Netflix's decoders expect of each field. Any other value has them give up the whole list.
_TABLES: Final = frozenset({"port", "securePort", "dataCenterInfo", "leaseInfo", "metadata"})
_NUMBERS: Final = frozenset({"countryId"})


def require_types(instance: dict[str, object]) -> None:
    """Every field of an instance is of the type that clients decode it as."""
    for key, value in instance.items():
        expected = dict if key in _TABLES else int if key in _NUMBERS else str
        compact = key == "lastUpdatedTimestamp" and "leaseInfo" not in instance
        assert type(value) is (int if compact else expected), f"{key}: {value!r}"


def _written(tree: Tree) -> None:
    """What was read can be written, in both forms, and is well-formed then."""
    json.loads(json.dumps(tree))
    if tree:
        _parse(write_xml("document", tree).encode())


def _parse(document: bytes) -> None:
    expat.ParserCreate().Parse(document, True)


def _json_seeds() -> Iterator[bytes]:
    yield b'{"instance":{"app":"WEB","hostName":"h","ipAddr":"10.0.0.1","port":{"$":80},"status":"UP"}}'
    yield (
        b'{"instance":{"instanceId":"i","app":"WEB","hostName":"h","ipAddr":"10.0.0.1","port":{"$":80,"@enabled":"true"},'
        b'"securePort":{"$":443,"@enabled":"false"},"status":"DOWN","metadata":{"weight":"3","zone":"north","tags":"a,b"},'
        b'"dataCenterInfo":{"@class":"com.netflix.appinfo.MyDataCenterInfo","name":"MyOwn"},"leaseInfo":{"durationInSecs":90,"renewalIntervalInSecs":30},"countryId":1,'
        b'"vipAddress":"web","lastDirtyTimestamp":"5"}}'
    )
    yield (
        b'{"instance":{"app":"WEB","hostName":"h","ipAddr":"10.0.0.1",'
        b'"dataCenterInfo":{"@class":"com.netflix.appinfo.AmazonInfo","name":"Amazon","metadata":{"instance-id":"i"}}}}'
    )


def _xml_seeds() -> Iterator[bytes]:
    yield (
        b"<instance><instanceId>i</instanceId><hostName>h</hostName><app>WEB</app><ipAddr>10.0.0.1</ipAddr>"
        b'<port enabled="true">80</port><securePort enabled="false">443</securePort><status>UP</status>'
        b'<dataCenterInfo class="c"><name>MyOwn</name></dataCenterInfo><metadata><zone>north</zone></metadata>'
        b"<leaseInfo><durationInSecs>90</durationInSecs></leaseInfo></instance>"
    )
    yield b'<?xml version="1.0" encoding="utf-16"?><instance/>'
    yield b"<instance><metadata><a/><a/><a>b</a></metadata>&amp;&#13;<![CDATA[x]]></instance>"
    yield b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"


TARGETS: Final = (
    Target(
        "eureka-json",
        "a post is an instance that can be shown, or Malformed or InvalidInstance",
        _eureka,
        _json_seeds,
        (b'"metadata":{', b'"$":', b'"@enabled":', b'"leaseInfo":{', b"null", b"\\ud800", b"1e999", b"NaN"),
        cost=2,
    ),
    Target(
        "eureka-xml",
        "a post is an instance that can be shown, or Malformed or InvalidInstance",
        _eureka,
        _xml_seeds,
        (b"<a>", b"</a>", b"<!DOCTYPE", b"<![CDATA[", b"]]>", b"&#x", b"&amp;", b'encoding="', b"<?xml", b"xmlns:"),
        cost=2,
    ),
)
