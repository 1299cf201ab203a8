"""Instance information: the fixed fields of an instance in Eureka's documents, each of one type.

They are those of Netflix's ``InstanceInfo``, in the order and the form in which Eureka's server prints them. Documents
are printed from here only: a field that a client invents, or a value of another type, cannot get into one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from gossipreg.frontends.eureka.trees import KeyedTexts, Tree
from gossipreg.values import frozen

#: What a client may say of itself. Anything else is UNKNOWN, as in Eureka.
STATUSES: Final = ("UP", "DOWN", "STARTING", "OUT_OF_SERVICE", "UNKNOWN")

#: How often a client renews, and how long a lease lasts, unless it says so (seconds): Eureka's own numbers.
RENEWAL_SECONDS: Final = 30
LEASE_SECONDS: Final = 90

#: The classes by which clients know what a data center's description consists of.
PLAIN_CLASS: Final = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"
AMAZON_CLASS: Final = "com.netflix.appinfo.AmazonInfo"

#: The names of data centers that Eureka's clients can read.
DATA_CENTERS: Final = ("Netflix", "Amazon", "MyOwn")

#: What the compact form shows of an Amazon instance's metadata.
_COMPACT_AMAZON: Final = frozenset({"instance-id", "public-ipv4", "public-hostname", "local-ipv4", "availability-zone"})


@frozen
class PortInfo:
    """A port, and whether it is enabled."""

    number: int
    enabled: bool

    def tree(self) -> Tree:
        """As it is printed."""
        return {"$": self.number, "@enabled": "true" if self.enabled else "false"}


#: The ports of an instance whose client names none: Eureka's own numbers.
PORT: Final = PortInfo(7001, enabled=True)
SECURE_PORT: Final = PortInfo(7002, enabled=False)


@frozen
class DataCenterInfo:
    """Where an instance runs; ``metadata`` is that of Amazon's instances, and empty elsewhere."""

    name: str = "MyOwn"
    metadata: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def instance_id(self) -> str:
        """The id that the data center gave the instance; empty if it gave none."""
        return self.metadata.get("instance-id", "")

    def tree(self, *, compact: bool = False) -> Tree:
        """As it is printed."""
        if self.name != "Amazon":
            return {"@class": PLAIN_CLASS, "name": self.name}
        shown = {key: text for key, text in self.metadata.items() if not compact or key in _COMPACT_AMAZON}
        return {"@class": AMAZON_CLASS, "name": self.name, "metadata": KeyedTexts(shown)}


@frozen(kw_only=True)
class LeaseInfo:
    """A lease (seconds), and when it began and the instance was first UP (ms since 1970).

    Renewals are not told to other nodes, nor shown.
    """

    renewal: int = RENEWAL_SECONDS
    duration: int = LEASE_SECONDS
    registered: int = 0
    up: int = 0

    def tree(self) -> Tree:
        """As it is printed."""
        return {
            "renewalIntervalInSecs": self.renewal,
            "durationInSecs": self.duration,
            "registrationTimestamp": self.registered,
            "lastRenewalTimestamp": self.registered,
            "evictionTimestamp": 0,
            "serviceUpTimestamp": self.up,
        }


@frozen(kw_only=True)
class InstanceInfo:
    """An instance as Eureka describes it. A text that is None was not given, and is not printed."""

    id: str
    host_name: str
    app: str
    address: str
    status: str
    overridden: str = "UNKNOWN"
    sid: str | None = None
    port: PortInfo = PORT
    secure_port: PortInfo = SECURE_PORT
    country: int = 1
    data_center: DataCenterInfo = DataCenterInfo()
    lease: LeaseInfo = LeaseInfo()
    metadata: Mapping[str, str] = attrs.field(factory=dict)
    home_page: str | None = None
    status_page: str | None = None
    health_check: str | None = None
    secure_health_check: str | None = None
    vip: str | None = None
    secure_vip: str | None = None
    asg: str | None = None
    updated: int = 0  # when the registry last changed it (ms since 1970)
    dirty: int = 0  # when its client last changed it (ms since 1970)

    @property
    def action(self) -> str:
        """What was last done to it, where a document lists all instances and not what has changed."""
        return "ADDED" if self.overridden == "UNKNOWN" else "MODIFIED"

    def tree(self, override_key: str) -> Tree:
        """As it is printed, but for its action: the key of its override differs from form to form."""
        shown: Tree = {
            "instanceId": self.id,
            "hostName": self.host_name,
            "app": self.app,
            "ipAddr": self.address,
            "sid": self.sid,
            "status": self.status,
            override_key: self.overridden,
            "port": self.port.tree(),
            "securePort": self.secure_port.tree(),
            "countryId": self.country,
            "dataCenterInfo": self.data_center.tree(),
            "leaseInfo": self.lease.tree(),
            "metadata": KeyedTexts(self.metadata),
            "homePageUrl": self.home_page,
            "statusPageUrl": self.status_page,
            "healthCheckUrl": self.health_check,
            "secureHealthCheckUrl": self.secure_health_check,
            "vipAddress": self.vip,
            "secureVipAddress": self.secure_vip,
            "isCoordinatingDiscoveryServer": "false",
            "lastUpdatedTimestamp": str(self.updated),
            "lastDirtyTimestamp": str(self.dirty),
            "asgName": self.asg,
        }
        return {key: value for key, value in shown.items() if value is not None}

    def compact_tree(self) -> Tree:
        """As it is printed for a client that asks for the compact form, but for its action."""
        shown: Tree = {
            "instanceId": self.id,
            "app": self.app,
            "ipAddr": self.address,
            "vipAddress": self.vip,
            "secureVipAddress": self.secure_vip,
            "dataCenterInfo": self.data_center.tree(compact=True),
            "hostName": self.host_name,
            "status": self.status,
            "lastUpdatedTimestamp": self.updated,
            "asgName": self.asg,
            "port": self.port.tree(),
            "securePort": self.secure_port.tree(),
        }
        return {key: value for key, value in shown.items() if value is not None}
