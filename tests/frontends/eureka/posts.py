"""Bodies as Eureka's clients post them."""

from __future__ import annotations

import json
from typing import Any

from gossipreg.frontends.eureka.documents import DocumentFormat
from gossipreg.frontends.eureka.posted_instance import PostedInstance
from gossipreg.frontends.eureka.trees import Tree

#: When tests post (ms since 1970).
NOW = 1_700_000_000_000


def post(app: str | None = "ORDERS", **fields: Any) -> Tree:
    """A whole instance, as a careful client posts it; a field that is None is left out."""
    instance: dict[str, Any] = {
        "instanceId": "host-1:orders:8080",
        "hostName": "host-1",
        "app": app,
        "ipAddr": "127.0.0.1",
        "status": "UP",
        "overriddenstatus": "UNKNOWN",
        "port": {"$": 8080, "@enabled": "true"},
        "securePort": {"$": 8443, "@enabled": "false"},
        "vipAddress": "orders,orders-api",
        "secureVipAddress": "orders-secure",
        "homePageUrl": "http://host-1:8080/",
        "statusPageUrl": "http://host-1:8080/info",
        "healthCheckUrl": "http://host-1:8080/health",
        "countryId": 1,
        "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
        "leaseInfo": {"renewalIntervalInSecs": 10, "durationInSecs": 40},
        "metadata": {"management.port": "8081"},
        "lastDirtyTimestamp": "1700000000000",
    }
    return {"instance": {key: value for key, value in (instance | fields).items() if value is not None}}


def posted(app: str = "ORDERS", **fields: Any) -> PostedInstance:
    """The same, read."""
    return PostedInstance.read(app.upper(), post(app, **fields), NOW)


def in_json(tree: Tree) -> bytes:
    return json.dumps(tree).encode()


def in_xml(tree: Tree) -> bytes:
    return DocumentFormat.XML.part("instance", tree["instance"])
