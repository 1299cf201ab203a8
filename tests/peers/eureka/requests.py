"""The requests of the differential run: what a Eureka server and an agent are asked, case by case.

A case begins with an empty registry and has an application of its own. A step that is not the same on both sides has
the key of its reason in `REASONS`; a case that has one for all its steps says so once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

PLAIN: Final = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"
AMAZON: Final = "com.netflix.appinfo.AmazonInfo"

#: Why a difference is accepted, by the key that steps have.
REASONS: Final[Mapping[str, str]] = {
    "client's mistake": "Eureka's server answers 500 to a request that is wrong; the agent answers 400 and says why.",
    "cannot be called": (
        "Every client of every API is given a host and a port to call. What cannot be one is refused with 400 and the "
        "field's name; Eureka's server takes any text and any number."
    ),
    "names and ids": (
        "A service's name must fit into DNS, and an id is 1 to 255 printable ASCII characters. Others are refused."
    ),
    "id is shown": "An instance that was posted without an id, or with an empty one, is shown with the one it has.",
    "slashes": "An id with slashes can be renewed, changed and taken back here; Eureka's server finds no such path.",
    "brackets": (
        "Eureka's server takes a bracket for the value where a list or an object stands for a text, and reads on from "
        "there. Here it is refused."
    ),
    "unknown objects": (
        "A field that Eureka does not know is skipped, whatever is in it. Its server loses its place in some that are "
        "nested, and answers 400."
    ),
    "two forms": (
        "A data center that is called Amazon and is no AmazonInfo makes Eureka's server fail to print the list. Here "
        "it is printed as one."
    ),
    "type of a body": "A body's first letter tells what it is. Eureka's server answers 415 unless its type says so.",
    "any Accept": "A client that accepts neither XML nor JSON gets XML; Eureka's server answers 406.",
    "trailing": "What stands behind the end of a JSON document is refused; Eureka's server does not read it.",
    "override of UP": (
        "An override takes an instance out, or ends. One to UP or UNKNOWN ends it, and the client's own status is "
        "shown: an instance that says it is DOWN is not made UP from outside."
    ),
    "end of an override": (
        "When an override ends, the client's own status is shown at once. Eureka's server shows the status that the "
        "request names, or UNKNOWN, until the client has renewed, got a 404 and registered again."
    ),
    "no page": "Eureka's dashboard, replication and ASGs are not there.",
    "method": "An id may hold slashes, so a path below an instance is taken for another instance, which is not found.",
    "clock of a status": "The time in a change of status is not kept: an override is a policy of the cluster's.",
}


@attrs.frozen
class Step:
    """One request. ``reason`` is the key of why the answers differ; empty if they may not."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    reason: str = ""

    @property
    def accept(self) -> str:
        """The form that is asked for."""
        return self.headers.get("accept", "*/*")

    def __str__(self) -> str:
        form = " (JSON)" if "json" in self.accept else ""
        return f"{self.method} {self.path}{form}"


@attrs.frozen
class Case:
    """Requests in order, about the application ``app``."""

    name: str
    app: str
    steps: tuple[Step, ...]


JSON: Final = {"accept": "application/json"}
XML: Final = {"accept": "application/xml"}
COMPACT: Final = {"x-eureka-accept": "compact"}


def instance(app: str, /, **fields: Any) -> dict[str, Any]:
    """A whole instance; a field that is ``...`` is left out."""
    whole: dict[str, Any] = {
        "instanceId": "i1",
        "hostName": "h1",
        "app": app,
        "ipAddr": "127.0.0.1",
        "status": "UP",
        "port": {"$": 8080, "@enabled": "true"},
        "vipAddress": "v",
        "secureVipAddress": "sv",
        "dataCenterInfo": {"@class": PLAIN, "name": "MyOwn"},
        "leaseInfo": {"renewalIntervalInSecs": 10, "durationInSecs": 40},
        "metadata": {"a": "b"},
        "lastDirtyTimestamp": "1000",
    }
    return {key: value for key, value in (whole | fields).items() if value is not ...}


def post(app: str, reason: str = "", /, **fields: Any) -> Step:
    """A registration in JSON."""
    body = json.dumps({"instance": instance(app, **fields)}).encode()
    return Step("POST", f"apps/{app}", body, {"content-type": "application/json"}, reason)


def post_text(app: str, body: str | bytes, reason: str = "", kind: str = "application/json") -> Step:
    """A registration with that body."""
    return Step("POST", f"apps/{app}", body.encode() if isinstance(body, str) else body, {"content-type": kind}, reason)


def get(path: str, reason: str = "", **headers: str) -> Step:
    """A read in JSON, unless the headers ask for another form."""
    return Step("GET", path, b"", JSON | {key.replace("_", "-"): value for key, value in headers.items()}, reason)


def act(method: str, path: str, reason: str = "") -> Step:
    """A change without a body."""
    return Step(method, path, b"", JSON, reason)


def _each(key: str, *values: Any) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Posts with each of these values in one field, all answered the same."""
    return (({key: value}, "", "") for value in values)


#: Fields of a post in JSON: a name, the fields, the reason of the post's difference, and that of the reads'.
_POSTED: Final[tuple[tuple[dict[str, Any], str, str], ...]] = (
    ({}, "", ""),
    *(({key: ...}, "", "") for key in ("hostName", "app", "ipAddr", "status", "port", "vipAddress", "leaseInfo")),
    *(({key: ...}, "", "") for key in ("dataCenterInfo", "metadata", "lastDirtyTimestamp")),
    *(({key: None}, "", "") for key in ("hostName", "app", "ipAddr", "status", "port", "vipAddress", "leaseInfo")),
    *(({key: None}, "", "") for key in ("dataCenterInfo", "metadata", "lastDirtyTimestamp", "homePageUrl")),
    *(({key: ""}, "", "") for key in ("hostName", "app", "ipAddr", "status", "vipAddress", "homePageUrl", "sid")),
    *(({"instanceId": value}, "", "id is shown") for value in (..., None, "")),
    ({"instanceId": 5}, "", ""),
    ({"instanceId": "\u00e9"}, "names and ids", "names and ids"),
    ({"hostName": 5}, "", ""),
    ({"hostName": True}, "", ""),
    ({"hostName": ["x"]}, "brackets", "brackets"),
    ({"hostName": {"a": "b"}}, "", ""),
    ({"ipAddr": "two words"}, "cannot be called", "cannot be called"),
    ({"app": "Other"}, "", ""),
    *_each("status", "DOWN", "STARTING", "OUT_OF_SERVICE", "UNKNOWN", "up", "DANCING", 5),
    ({"overriddenstatus": "OUT_OF_SERVICE"}, "", ""),
    ({"overriddenStatus": "OUT_OF_SERVICE"}, "", ""),
    *_each("overriddenstatus", "UNKNOWN", "up", "X", None),
    *_each("port", 8080, "8080", True, {}, {"$": "8080", "@enabled": True}, {"$": 8080, "@enabled": False}),
    *_each("port", {"$": 8080}, {"@enabled": "true"}, {"$": 8080, "@enabled": "TRUE"}, {"$": 80, "@enabled": 1}),
    *_each("port", {"$": 8080.7, "@enabled": "true"}, {"$": " 80 "}, {"port": 80}, {"$": 80, "x": "y"}),
    *(
        ({"port": {"$": value, "@enabled": "true"}}, "cannot be called", "cannot be called")
        for value in (-1, 0, 70_000, "http")
    ),
    ({"port": {"$": 99_999_999_999}}, "", ""),
    *_each("securePort", 8443, {"$": 8443, "@enabled": "true"}, {"$": "x"}, {"$": -1, "@enabled": "false"}, {}),
    *_each("countryId", 0, "7", "x", 1.5, -3, None, True, {}, "", 99_999_999_999),
    *_each("isCoordinatingDiscoveryServer", True, "true", "x", {}, None, 1),
    *_each("lastDirtyTimestamp", 5, "5", "x", -1, {}, 1.5, True, "", 10**20),
    *_each("lastUpdatedTimestamp", 5, "5", "x", None),
    *_each("leaseInfo", {}, {"durationInSecs": "40"}, {"durationInSecs": 0}, {"durationInSecs": -5, "x": 1}),
    *_each("leaseInfo", {"durationInSecs": "x"}, {"durationInSecs": 1.5}, {"durationInSecs": 9_999_999_999}),
    ({"leaseInfo": {"durationInSecs": 40, "registrationTimestamp": 7, "evictionTimestamp": 9}}, "", ""),
    *_each(
        "metadata", {"a": 1}, {"a": True}, {"a": None}, {"a": 1.5}, {"a": ["x", "y"]}, {}, "", {"$": "x"}, {"@b": "c"}
    ),
    *_each("metadata", {"two words": "x"}, {"1a": "b"}, {"a_b": "<&>"}, {"a<": "\u00e9\n"}, {"@class": "x", "a": "b"}),
    ({"metadata": {"a": {"b": "c"}}}, "", ""),
    ({"metadata": {"a": ["x"]}}, "brackets", "brackets"),
    *_each(
        "dataCenterInfo",
        {},
        [],
        {"name": "MyOwn"},
        {"@class": "x.Y", "name": "MyOwn"},
        {"@class": PLAIN, "name": "Foo"},
    ),
    *_each("dataCenterInfo", {"@class": PLAIN}, {"@class": PLAIN, "name": ""}, {"@class": PLAIN, "name": "Netflix"}),
    *_each(
        "dataCenterInfo",
        {"@class": PLAIN, "name": "MyOwn", "x": "y"},
        {"@class": PLAIN, "name": "MyOwn", "metadata": ""},
    ),
    ({"dataCenterInfo": {"@class": "com.netflix.appinfo.MyDataCenterInfo", "name": "MyOwn"}}, "", ""),
    *(
        ({"dataCenterInfo": {"@class": AMAZON, "name": "Amazon", "metadata": value}}, "", "")
        for value in ({"instance-id": "i-1", "foo": 5}, {}, None, "x")
    ),
    ({"dataCenterInfo": {"@class": AMAZON, "name": "MyOwn", "metadata": {}}}, "", ""),
    *(({key: "text"}, "", "") for key in ("homePageUrl", "statusPageUrl", "healthCheckUrl", "secureHealthCheckUrl")),
    *(({key: "text"}, "", "") for key in ("asgName", "sid", "another", "actionType")),
    *_each("sid", "na", 5),
    ({"Status": "DOWN"}, "", ""),
    ({"another": {"a": [1, {"b": None}]}}, "unknown objects", "unknown objects"),
)

_WHOLE: Final = {
    "instanceId": "<instanceId>i1</instanceId>",
    "hostName": "<hostName>h1</hostName>",
    "app": "<app>{app}</app>",
    "ipAddr": "<ipAddr>127.0.0.1</ipAddr>",
    "status": "<status>UP</status>",
    "port": '<port enabled="true">8080</port>',
    "vipAddress": "<vipAddress>v</vipAddress>",
    "dataCenterInfo": f'<dataCenterInfo class="{PLAIN}"><name>MyOwn</name></dataCenterInfo>',
    "metadata": "<metadata><a>b</a></metadata>",
    "lastDirtyTimestamp": "<lastDirtyTimestamp>1000</lastDirtyTimestamp>",
}

#: Elements of a post in XML, each in place of the one of its name or as one more.
_POSTED_XML: Final[tuple[tuple[str, str], ...]] = (
    ("", ""),
    *((key, "") for key in ("hostName", "app", "ipAddr", "status", "port", "vipAddress", "dataCenterInfo", "metadata")),
    *((key, f"<{key}/>") for key in ("hostName", "app", "ipAddr", "status", "port", "vipAddress", "dataCenterInfo")),
    ("metadata", "<metadata/>"),
    ("status", "<status>up</status>"),
    ("port", "<port>8080</port>"),
    ("port", '<port enabled="false">8080</port>'),
    ("port", '<port enabled="TRUE">8080</port>'),
    ("port", '<port enabled="true">x</port>'),
    ("port", '<port enabled="true" x="y">80</port>'),
    ("another", "<another><x>y</x></another>"),
    ("overriddenstatus", "<overriddenstatus>OUT_OF_SERVICE</overriddenstatus>"),
    ("countryId", "<countryId>x</countryId>"),
    ("countryId", "<countryId>7</countryId>"),
    ("isCoordinatingDiscoveryServer", "<isCoordinatingDiscoveryServer>true</isCoordinatingDiscoveryServer>"),
    ("lastDirtyTimestamp", "<lastDirtyTimestamp>x</lastDirtyTimestamp>"),
    ("leaseInfo", "<leaseInfo><durationInSecs>40</durationInSecs></leaseInfo>"),
    ("leaseInfo", "<leaseInfo><durationInSecs>x</durationInSecs><y>1</y></leaseInfo>"),
    ("homePageUrl", "<homePageUrl/>"),
    ("sid", "<sid>na</sid>"),
    ("metadata", '<metadata class="java.util.Collections$EmptyMap"/>'),
    ("metadata", "<metadata><a>1</a><a>2</a></metadata>"),
    ("metadata", "<metadata><a><b>c</b></a></metadata>"),
    ("metadata", "<metadata>text</metadata>"),
    ("metadata", '<metadata><a b="c"> d </a><e>&lt;&amp;</e></metadata>'),
    ("metadata", "<metadata><a__b>1</a__b><_-c>2</_-c><two_words>3</two_words></metadata>"),
    ("dataCenterInfo", "<dataCenterInfo><name>MyOwn</name><metadata></metadata></dataCenterInfo>"),
    ("dataCenterInfo", '<dataCenterInfo class="x.Y"><name>MyOwn</name></dataCenterInfo>'),
    ("dataCenterInfo", "<dataCenterInfo><name>Foo</name></dataCenterInfo>"),
    ("dataCenterInfo", "<dataCenterInfo><name>Amazon</name></dataCenterInfo>"),
)


def _reads(app: str, reason: str) -> tuple[Step, ...]:
    return get(f"apps/{app}", reason), Step("GET", f"apps/{app}", headers=XML, reason=reason)


def _posts() -> Iterator[Case]:
    for number, (fields, reason, read) in enumerate(_POSTED):
        app = f"J{number}"
        said = {key: "absent" if value is ... else value for key, value in fields.items()}
        yield Case(f"post {json.dumps(said)}", app, (post(app, reason, **fields), *_reads(app, read)))
    for number, (key, element) in enumerate(_POSTED_XML):
        app = f"X{number}"
        body = "".join((_WHOLE | ({key: element} if key else {})).values()).format(app=app)
        step = post_text(app, f"<instance>{body}</instance>", kind="application/xml")
        yield Case(f"post {element or f'<instance> without {key}'}", app, (step, *_reads(app, "")))


def _bodies() -> Iterator[Case]:
    app = "B"
    whole = json.dumps({"instance": instance(app)})
    bodies = ("", "{", "{}", "[]", '{"instance": null}', whole[:-1] + ', "x": 1}')
    for body in bodies:
        yield Case(f"post the body {body[:30]}", app, (post_text(app, body),))
    for body in ("", "<instance>", "<!DOCTYPE x><x/>", "<x/>"):
        yield Case(f"post the body {body} as XML", app, (post_text(app, body, kind="application/xml"),))
    yield Case("post a body and a word", app, (post_text(app, whole + " x", "trailing"),))
    yield Case("post without a type", app, (post_text(app, whole, "type of a body", kind="text/plain"),))
    yield Case("post a type with a charset", app, (post_text(app, whole, kind="application/json;charset=UTF-8"),))
    twice = whole.replace('"h1"', '"h1", "hostName": "h2"')
    yield Case("post a field twice", app, (post_text(app, twice), get(f"apps/{app}")))
    lower = whole.replace('"B"', '"lower"')
    yield Case("post to an application in lower case", "LOWER", (post_text("lower", lower), get("apps/LOWER")))
    spaced = whole.replace('"B"', '"my app"')
    yield Case("post to an application with a space", app, (post_text("my%20app", spaced, "names and ids"),))


def _life() -> Iterator[Case]:
    app = "LIFE"
    one = f"apps/{app}/i1"
    yield Case(
        "register, renew, change, cancel",
        app,
        (
            post(app, lastDirtyTimestamp="100"),
            act("PUT", one),
            act("PUT", f"{one}?status=UP&lastDirtyTimestamp=100"),
            act("PUT", f"{one}?status=UP&lastDirtyTimestamp=99"),
            act("PUT", f"{one}?status=UP&lastDirtyTimestamp=101"),
            act("PUT", f"{one}?lastDirtyTimestamp=soon", "client's mistake"),
            act("PUT", f"{one}?status=DOWN"),
            act("PUT", f"apps/{app.lower()}/i1"),
            act("PUT", f"apps/{app}/none"),
            act("PUT", "apps/NONE/i1"),
            *_reads(app, ""),
            act("PUT", f"{one}/metadata?x=y&z=&a=1&a=2"),
            get(one),
            act("PUT", f"{one}/metadata"),
            act("PUT", f"{one}/metadata?two%20words=%C3%A9"),
            get(one),
            act("PUT", f"apps/{app}/none/metadata?x=y"),
            post(app, lastDirtyTimestamp="50", metadata={"old": "1"}),
            get(one),
            post(app, lastDirtyTimestamp="500", metadata={"new": "1"}, status="STARTING"),
            get(one),
            act("DELETE", f"apps/{app}/none"),
            get("apps/delta"),
            act("DELETE", one),
            act("DELETE", one),
            act("PUT", one),
            get(one),
            get(f"apps/{app}"),
            get("apps"),
            get("apps/delta"),
        ),
    )
    yield Case(
        "an override",
        "OVER",
        (
            post("OVER"),
            act("PUT", "apps/OVER/i1/status?value=OUT_OF_SERVICE"),
            *_reads("OVER", ""),
            get("apps/delta"),
            get("apps"),
            act("PUT", "apps/OVER/i1"),
            post("OVER", lastDirtyTimestamp="2000"),
            get("apps/OVER"),
            act("PUT", "apps/OVER/i1/status?value=DOWN"),
            get("apps/OVER"),
            act("PUT", "apps/OVER/i1/status?value=STARTING"),
            get("apps/OVER"),
            act("PUT", "apps/OVER/i1/status?value=DANCING", "client's mistake"),
            act("PUT", "apps/OVER/i1/status?value=up", "client's mistake"),
            act("PUT", "apps/OVER/i1/status", "client's mistake"),
            act("PUT", "apps/OVER/none/status?value=DOWN"),
            act("DELETE", "apps/OVER/none/status"),
            get("apps/OVER"),
            act("DELETE", "apps/OVER/i1/status?value=UP"),
            get("apps/OVER"),
            get("apps/delta"),
        ),
    )
    yield Case(
        "an override that ends",
        "ENDS",
        (
            post("ENDS"),
            act("PUT", "apps/ENDS/i1/status?value=OUT_OF_SERVICE"),
            act("DELETE", "apps/ENDS/i1/status"),
            get("apps/ENDS", "end of an override"),
            act("PUT", "apps/ENDS/i1", "end of an override"),
            post("ENDS", lastDirtyTimestamp="2000"),
            get("apps/ENDS"),
            act("PUT", "apps/ENDS/i1/status?value=DOWN"),
            act("PUT", "apps/ENDS/i1/status?value=UP"),
            get("apps/ENDS", "override of UP"),
            act("DELETE", "apps/ENDS/i1/status?value=UP"),
            get("apps/ENDS"),
            act("PUT", "apps/ENDS/i1/status?value=UNKNOWN"),
            get("apps/ENDS", "override of UP"),
        ),
    )
    yield Case(
        "a change of status with a time",
        "TIME",
        (
            post("TIME", lastDirtyTimestamp="100"),
            act("PUT", "apps/TIME/i1/status?value=OUT_OF_SERVICE&lastDirtyTimestamp=150"),
            get("apps/TIME", "clock of a status"),
        ),
    )
    yield Case(
        "an instance that says it is down, and is overridden to be up",
        "DOWN",
        (
            post("DOWN", status="DOWN"),
            act("PUT", "apps/DOWN/i1/status?value=UP"),
            get("apps/DOWN", "override of UP"),
        ),
    )


def _reading() -> Iterator[Case]:
    app = "READ"
    one = f"apps/{app}/i1"
    amazon = {"@class": AMAZON, "name": "Amazon", "metadata": {"instance-id": "i-2", "ami-id": "a", "local-ipv4": "b"}}
    two: dict[str, Any] = {
        "instanceId": "i2",
        "hostName": "h2",
        "status": "DOWN",
        "vipAddress": "v,w",
        "secureVipAddress": ...,
    }
    texts = {"homePageUrl": "http://h/", "statusPageUrl": "s", "healthCheckUrl": "c", "secureHealthCheckUrl": "sc"}
    lists = ("apps", "apps/", f"apps/{app}", "apps/delta", "vips/v", "vips/w", "vips/V", "svips/sv", "svips/none")
    yield Case(
        "read in every form",
        app,
        (
            post(app, asgName="g", sid="s", **texts),
            post(app, **two),
            post(app, instanceId="i3", hostName="h3", dataCenterInfo=amazon, vipAddress=...),
            *(get(path) for path in (*lists, one, "instances/i1", "instances/i3", f"apps/{app.lower()}")),
            *(Step("GET", path, headers=XML) for path in (*lists, one, "instances/i1")),
            *(Step("GET", path, headers=JSON | COMPACT) for path in (*lists, one)),
            *(Step("GET", path, headers=XML | COMPACT) for path in (*lists, one)),
            *(get(path, x_eureka_accept=word) for path in ("apps", one) for word in ("full", "COMPACT", "other")),
            *(get(f"apps/{app}", accept=accept) for accept in ("*/*", "application/xml, */*", "application/json, x/y")),
            get(f"apps/{app}", "any Accept", accept="text/html"),
            *(get(path) for path in ("apps/NONE", f"apps/{app}/none", "apps/NONE/i1", "instances/none")),
            *(get(path) for path in ("vips", "svips", "instances", "nothing", "")),
            *(act("HEAD", path) for path in ("apps", f"apps/{app}", "apps/NONE")),
            act("POST", "apps"),
            act("PUT", f"apps/{app}"),
            act("DELETE", f"apps/{app}"),
            act("POST", one),
            act("PATCH", one),
            act("GET", f"{one}/status", "method"),
            act("GET", f"{one}/metadata", "method"),
            get("apps?regions=elsewhere"),
            get("status", "no page"),
            act("POST", "peerreplication/batch", "no page"),
            act("PUT", "asg/g/status?value=ENABLED", "no page"),
        ),
    )


def _ids() -> Iterator[Case]:
    app = "IDS"
    for number, id_ in enumerate(("a b", "a:b", "a%b", "a+b", "A", "a~!*'()b")):
        quoted = id_.replace("%", "%25").replace(" ", "%20")
        reason = "names and ids" if " " in id_ else ""
        yield Case(
            f"an instance called {id_}",
            f"{app}{number}",
            (
                post(f"{app}{number}", reason, instanceId=id_),
                act("PUT", f"apps/{app}{number}/{quoted}", reason),
                get(f"apps/{app}{number}/{quoted}", reason),
                act("DELETE", f"apps/{app}{number}/{quoted}", reason),
            ),
        )
    slashed = "apps/SLASH/ns/app-1"
    yield Case(
        "an id with a slash",
        "SLASH",
        (
            post("SLASH", instanceId="ns/app-1"),
            act("PUT", slashed, "slashes"),
            get(slashed, "slashes"),
            act("PUT", f"{slashed}/metadata?a=c", "slashes"),
            act("DELETE", slashed, "slashes"),
        ),
    )


def _last() -> Iterator[Case]:
    """What makes the server's own lists unreadable, for three minutes also those of changes."""
    amazon = {"@class": PLAIN, "name": "Amazon"}
    yield Case(
        "post an Amazon that is no AmazonInfo",
        "LAST",
        (post("LAST", dataCenterInfo=amazon), *_reads("LAST", "two forms"), get("apps", "two forms")),
    )


def cases() -> tuple[Case, ...]:
    """All of them."""
    return (*_posts(), *_bodies(), *_life(), *_reading(), *_ids(), *_last())
