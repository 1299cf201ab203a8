"""Coercions: how Eureka's server reads values of other types than a field has, in JSON and in XML.

Clients rely on them, and none may let a value of a wrong type through. What cannot be read raises `MalformedDocument`
with the server's own sentence and the reason behind it.
"""

from __future__ import annotations

import json
import re
from typing import Final

from gossipreg.frontends.eureka.documents import DocumentFormat
from gossipreg.frontends.eureka.instance_info import (
    AMAZON_CLASS,
    DATA_CENTERS,
    PLAIN_CLASS,
    STATUSES,
    DataCenterInfo,
    PortInfo,
)
from gossipreg.frontends.eureka.trees import Tree, Value, text_of, unparsable
from gossipreg.frontends.eureka.xml import key_of_name
from gossipreg.text import shown

#: The numbers that Java's ``int`` and ``long`` hold.
INT: Final = 2**31
LONG: Final = 2**63

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,30}")
_DECIMAL: Final = re.compile(r"[+-]?([0-9]{1,30}([.][0-9]*)?|[.][0-9]+)(e[+-]?[0-9]{1,2})?", re.IGNORECASE)
_PLAIN_CLASSES: Final = (PLAIN_CLASS, "com.netflix.appinfo.MyDataCenterInfo")


def text(tree: Tree, key: str, form: DocumentFormat) -> str | None:
    """The text at ``key``; None if there is none. In JSON a number or a boolean is the text that it is written as."""
    value = last(tree.get(key)) if form is DocumentFormat.XML else tree.get(key)
    if value is None or isinstance(value, str):
        return value
    if form is DocumentFormat.XML:
        return text_of(value)
    if isinstance(value, dict | list):
        raise unparsable(f"{key}: {shown(value)} is not a text")
    return json.dumps(value)


def last(value: Value) -> Value:
    """The last of an element that comes several times."""
    return value[-1] if isinstance(value, list) and value else value


def number(value: Value, name: str, default: int, bound: int = INT) -> int:
    """A whole number in JSON, below ``bound`` both ways. What is no number is 0, a missing one is ``default``."""
    match value:
        case None:
            return default
        case bool() | int() | float():
            found = int(value)
        case str():
            said = value.strip()
            found = int(said) if _WHOLE.fullmatch(said) else int(float(said)) if _DECIMAL.fullmatch(said) else 0
        case dict():
            found = 0
        case list():
            raise unparsable(f"{name}: {shown(value)} is not a number")
    if not -bound <= found < bound:
        raise unparsable(f"{name}: {shown(value)} is out of range")
    return found


def strict_number(value: Value, name: str) -> int:
    """A whole number that Java's ``Integer.parseInt`` reads, as a field of XML must be."""
    said = text_of(last(value))
    if _WHOLE.fullmatch(said) is None or not -INT <= int(said) < INT:
        raise unparsable(f"{name}: {shown(said)} is not a number")
    return int(said)


def lenient_number(value: Value, default: int, bound: int = INT) -> int:
    """A whole number in XML; ``default`` for anything else."""
    said = text_of(last(value))
    found = int(said) if _WHOLE.fullmatch(said) is not None else default
    return found if -bound <= found < bound else default


def country(value: Value, form: DocumentFormat) -> int:
    """The number of a country; 1 if there is none."""
    if value is None:
        return 1
    return strict_number(value, "countryId") if form is DocumentFormat.XML else number(value, "countryId", 1)


def timestamp(value: Value, name: str, now: int, form: DocumentFormat) -> int:
    """A time (ms since 1970); ``now`` if there is none."""
    return lenient_number(value, now, LONG) if form is DocumentFormat.XML else number(value, name, now, LONG)


def seconds(value: Value, name: str, form: DocumentFormat) -> int:
    """A number of seconds; 0 if there is none."""
    return lenient_number(value, 0) if form is DocumentFormat.XML else number(value, name, 0)


def port(value: Value, key: str, default: PortInfo, form: DocumentFormat) -> PortInfo:
    """A port: in JSON an object of ``$`` and ``@enabled``, in XML a number with an attribute."""
    if value is None or value == {}:
        return default
    if form is DocumentFormat.XML:
        value = last(value)
        said = text_of(value.get("@enabled")) if isinstance(value, dict) and "@enabled" in value else None
        enabled = default.enabled if said is None else said.lower() == "true"
        return PortInfo(strict_number(value, key), enabled)
    if not isinstance(value, dict):
        raise unparsable(f'{key}: {shown(value)} is not an object such as {{"$": 8080, "@enabled": "true"}}')
    unknown = value.keys() - {"$", "@enabled"}
    if unknown:
        raise unparsable(f"{key}: it has no field {', '.join(map(shown, sorted(unknown)))}")
    found = number(value["$"], key, 0) if "$" in value else default.number
    return PortInfo(found, _is_enabled(value["@enabled"]) if "@enabled" in value else default.enabled)


def _is_enabled(value: Value) -> bool:
    match value:
        case bool():
            return value
        case str():
            return value == "true"
        case int():
            return value != 0
        case _:
            return False


def status(value: Value, form: DocumentFormat) -> str | None:
    """A status; UNKNOWN for one that Eureka does not know, None for none."""
    said = text({"status": value}, "status", form)
    if said is None:
        return None
    if form is DocumentFormat.XML:  # in JSON only capitals are read
        said = said.upper()
    return said if said in STATUSES else "UNKNOWN"


def metadata(value: Value, key: str, form: DocumentFormat) -> dict[str, str]:
    """A table of texts; empty if there is none. The class that some clients add is left out."""
    if form is DocumentFormat.XML:
        value = last(value)
        found = value if isinstance(value, dict) else {}
        return {key_of_name(name): text_of(last(each)) for name, each in found.items() if name[:1] not in ("@", "$")}
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise unparsable(f"{key}: {shown(value)} is not an object of texts")
    return {name: _meta_text(name, each) for name, each in value.items() if name != "@class"}


def _meta_text(name: str, value: Value) -> str:
    """The text of one value of metadata in JSON, where a null is one too."""
    if isinstance(value, list | dict):
        raise unparsable(f"metadata: {shown(name)} is not a text")
    return value if isinstance(value, str) else json.dumps(value)


def data_center(value: Value, form: DocumentFormat) -> DataCenterInfo | None:
    """Where the instance runs; None if it was not posted, and without a name if that was not."""
    if value is None:
        return None
    return _xml_data_center(last(value)) if form is DocumentFormat.XML else _json_data_center(value)


def _xml_data_center(value: Value) -> DataCenterInfo | None:
    found = value if isinstance(value, dict) else {}
    name = text_of(last(found.get("name")))
    if not name:
        return None
    _require_known(name)
    is_amazon = name == "Amazon"
    return DataCenterInfo(name, metadata(found.get("metadata"), "metadata", DocumentFormat.XML) if is_amazon else {})


def _json_data_center(value: Value) -> DataCenterInfo:
    if not isinstance(value, dict):
        raise unparsable(f"dataCenterInfo: {shown(value)} is not an object")
    class_, name = value.get("@class"), value.get("name")
    if class_ not in (*_PLAIN_CLASSES, AMAZON_CLASS):
        raise unparsable(f"dataCenterInfo: its @class {shown(class_)} is none that Eureka knows: use {PLAIN_CLASS}")
    known = {"@class", "name", "metadata"} if class_ == AMAZON_CLASS else {"@class", "name"}
    if unknown := value.keys() - known:
        raise unparsable(f"dataCenterInfo: it has no field {', '.join(map(shown, sorted(unknown)))}")
    if name is not None:
        _require_known(name)
    if class_ != AMAZON_CLASS:
        return DataCenterInfo("" if name is None else str(name))
    if not isinstance(value.get("metadata"), dict):
        raise unparsable("dataCenterInfo: an AmazonInfo has metadata")
    return DataCenterInfo("Amazon", metadata(value["metadata"], "metadata", DocumentFormat.JSON))


def _require_known(name: Value) -> None:
    if name not in DATA_CENTERS:
        raise unparsable(f"dataCenterInfo: {shown(name)} is none of {', '.join(DATA_CENTERS)}")
