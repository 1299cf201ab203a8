"""What Eureka's clients post, as JSON and as XML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final
from xml.parsers import expat

from gossipreg.errors import InvalidInstance
from gossipreg.frontends.eureka.documents import DocumentFormat, read
from gossipreg.frontends.eureka.instance_document import InstanceDocument
from gossipreg.frontends.eureka.posted_instance import PostedInstance
from gossipreg.frontends.eureka.trees import MalformedDocument, Tree
from gossipreg.frontends.eureka.xml import write_xml
from tests.fuzz.target import Target, outcome, told

_NOW: Final = 1_767_225_600_000


def _eureka(data: bytes) -> str:
    """Read it as a post to the application ``WEB``, and show what was posted."""
    try:
        tree = read(data)
    except MalformedDocument as error:
        told(error)
        return f"{outcome(error)} {str(error)[:24]}"
    _written(tree)
    try:
        posted = PostedInstance.read("WEB", tree, _NOW)
        instance = posted.spec(posted.id).instance(member="alpha", host="127.0.0.1", zone="")
    except (MalformedDocument, InvalidInstance) as error:
        told(error)
        return f"{outcome(error)} {str(error)[:24]}"
    again = PostedInstance.of(instance)
    assert again is not None, "what was posted is kept"
    shown = InstanceDocument.of(instance, healthy=True)
    json.loads(DocumentFormat.JSON.alone("instance", shown.written(DocumentFormat.JSON, "ADDED")))
    _parse(DocumentFormat.XML.alone("instance", shown.written(DocumentFormat.XML, "ADDED")))
    return f"posted {posted.status} {bool(posted.metadata)}"


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
        b'"dataCenterInfo":{"name":"MyOwn"},"leaseInfo":{"durationInSecs":90,"renewalIntervalInSecs":30},"countryId":1,'
        b'"vipAddress":"web","lastDirtyTimestamp":"5"}}'
    )
    yield (
        b'{"instance":{"app":"WEB","hostName":"h","ipAddr":"10.0.0.1",'
        b'"dataCenterInfo":{"name":"Amazon","metadata":{"instance-id":"i"}}}}'
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
