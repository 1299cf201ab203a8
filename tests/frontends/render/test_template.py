"""A template makes a text of what is registered, and says where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipreg.errors import TemplateError
from gossipreg.frontends.render.template import Template
from gossipreg.frontends.render.template_data import TemplateData
from tests.frontends.render.cluster import FakeCluster


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    cluster.add("b", port=2, weight=5, tags=["v2"], zone="north", role=None)
    cluster.add("a", port=1, tags=["v1", "v2"], role="primary")
    cluster.add("c", port=3, weight=0)
    cluster.add("d", port=4, health="critical", reason="no disk")
    cluster.add("u", port=5, service="users")
    return cluster


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file.j2"


def rendered(file: Path, text: str, cluster: FakeCluster) -> str:
    file.write_text(text)
    return Template(file).render(TemplateData(cluster.ask))


def test_it_gives_those_that_can_be_called_in_the_order_of_their_ids(file: Path, cluster: FakeCluster) -> None:
    text = """\
upstream orders {
{% for each in instances("orders") %}
    server {{ each.address }} weight={{ each.weight }};
{% endfor %}
}
"""
    assert rendered(file, text, cluster) == (
        "upstream orders {\n    server 127.0.0.1:1 weight=3;\n    server 127.0.0.1:2 weight=5;\n}\n"
    )


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ("", "ab"),
        ("tag='v1'", "a"),
        ("tag='v2', zone='north'", "b"),
        ("role='primary'", "a"),
        ("all=True", "abcd"),
        ("all=True, tag='none'", ""),
    ],
)
def test_it_gives_those_that_are_asked_for(filters: str, ids: str, file: Path, cluster: FakeCluster) -> None:
    comma = ", " if filters else ""
    text = f"{{% for each in instances('orders'{comma}{filters}) %}}{{{{ each.id }}}}{{% endfor %}}"
    assert rendered(file, text, cluster) == ids


def test_it_knows_services_members_and_policies(file: Path, cluster: FakeCluster) -> None:
    text = (
        "{% for s in services %}{{ s }}={{ s.healthy }}/{{ s.instances }}:{{ instances(s) | length }} {% endfor %}"
        "{% for m in members if m.status == 'alive' %}{{ m }} {{ m.host }} {{ m.port }}{% endfor %}"
        " {{ policies[0].shares.v1 }}"
    )
    assert rendered(file, text, cluster) == "orders=1/2:2 users=1/2:1 web-1 127.0.0.1 7940 1"


def test_it_asks_for_what_is_wanted_only_and_once(file: Path, cluster: FakeCluster) -> None:
    assert rendered(file, "{{ instances('orders')[0].id }}{{ instances('orders', tag='v2')[0].id }}", cluster) == "aa"
    assert cluster.asked == [("services", "orders")]


def test_what_an_owner_wrote_cannot_begin_a_line_nor_be_a_host_that_is_none(file: Path) -> None:
    cluster = FakeCluster()
    cluster.add("a", meta={"note\n": "x;\n}\nevil"}, reason="a\x1bb")
    cluster.add("b", host="x;}")
    text = "{% for each in instances('orders') %}{{ each.id }} {{ each.meta['note '] }} {{ each.reason }}{% endfor %}"
    assert rendered(file, text, cluster) == "a x; } evil a b"


def test_words_and_quotes_that_mean_nothing_else(file: Path, cluster: FakeCluster) -> None:
    assert rendered(file, r"""{{ "a b;{" | slug }} {{ 'say "\\"' | quoted }}""", cluster) == r'a_b__ "say \"\\\""'


def test_it_includes_what_lies_beside_it_and_reads_it_anew(file: Path, cluster: FakeCluster) -> None:
    (file.parent / "part").write_text("one")
    assert rendered(file, "{% include 'part' %}", cluster) == "one"
    (file.parent / "part").write_text("another")
    assert rendered(file, "{% include 'part' %}", cluster) == "another"


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("\n{% if %}", 2, "Expected an expression, got 'end of statement block'"),
        ("\n\n{{ nonsense }}", 3, "'nonsense' is undefined"),
        ("{{ instances('missing')[0].address }}", 1, "list object has no element 0"),
        ("\n{{ 1 / 0 }}", 2, "ZeroDivisionError: division by zero"),
        ("\n{{ instances }}\n{{ ''.__class__ }}", 3, "access to attribute '__class__' of 'str' object is unsafe."),
        ("\n{% include 'missing' %}", 2, "includes missing, which is not beside it"),
        ("{% include '../secret' %}", 1, "includes ../secret, which is not beside it"),
    ],
)
def test_it_names_the_line_that_is_wrong(text: str, line: int, why: str, file: Path, cluster: FakeCluster) -> None:
    with pytest.raises(TemplateError) as raised:
        rendered(file, text, cluster)
    assert str(raised.value) == f"{file}, line {line}: {why}"


def test_it_names_the_file_that_is_not_there_or_no_text(file: Path) -> None:
    with pytest.raises(TemplateError, match="there is no such file"):
        Template(file).check()
    file.write_bytes(b"\xff")
    with pytest.raises(TemplateError, match="utf-8"):
        Template(file).check()
