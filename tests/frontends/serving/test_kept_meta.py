"""What compatibility APIs keep in the meta is shown by none of the others."""

from __future__ import annotations

from gossipreg.frontends.consul import catalog_rows
from gossipreg.frontends.dns import records
from gossipreg.frontends.eureka.instance_document import metadata_of
from gossipreg.frontends.http.http_sd import labels
from gossipreg.frontends.serving.kept_meta import CONSUL, EUREKA, meta_as_given
from gossipreg.model import Instance

KEPT = Instance(id="i", service="s", host="10.0.0.1", port=1, meta={CONSUL: "{}", EUREKA: "{}", "team": "shop"})


def test_what_is_kept_is_shown_as_meta_by_no_compatibility_api() -> None:
    assert meta_as_given(KEPT) == {"team": "shop"}
    assert catalog_rows.service(KEPT)["Meta"] == {"team": "shop"}
    shown = [*metadata_of(KEPT), *labels(KEPT), records.text(KEPT).to_text()]
    assert not [each for each in shown if "consul" in each or "eureka" in each]
    assert [each for each in shown if "team" in each]
