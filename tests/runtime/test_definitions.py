"""Instances that files define are registered, and no others are touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipreg import Check, ConfigError, Node, open_node
from gossipreg.runtime.definitions import DefinitionFiles, by_id, define
from tests.runtime.nodes import config

ORDERS = '[[services]]\nservice = "orders"\nport = 80\nid = "orders-1"\n'
BILLING = '[[services]]\nservice = "billing"\nport = 90\nid = "billing-1"\n'


@attrs.define
class Files:
    """A directory of definitions, and what reads it."""

    directory: Path
    files: DefinitionFiles

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    async def apply(self, node: Node) -> list[str]:
        """Have the node offer what they say; the sentences about what is wrong."""
        found = self.files.read()
        return [str(error) for error in (*found.wrong, *await define(node, found.located))]

    def wrong(self) -> str:
        (error,) = self.files.read().wrong
        return str(error)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    directory = tmp_path / "services.d"
    directory.mkdir()
    return Files(directory, DefinitionFiles(None, directory, commands=True))


def offered(node: Node) -> dict[str, int]:
    """The ids that this node offers, with their ports."""
    return {
        instance.id: instance.port
        for service in node.services()
        for instance in node.lookup(service, healthy=False)
        if instance.owner == node.name
    }


async def test_a_file_says_all_that_a_registration_can_say(files: Files) -> None:
    files.write(
        "db.toml",
        """
        [[services]]
        service = "db"
        port = 5432
        host = "db.internal"
        id = "db-1"
        tags = ["v2"]
        meta = { team = "a" }
        weight = 5
        zone = "eu-2"
        role = "primary"
        term = 3
        checks = [{ ttl = "30s", initial = "passing" }, { command = ["true"], interval = 60, initial = "passing" }]
        """,
    )
    async with open_node(config(zone="eu-1", command_checks="own")) as node:
        assert await files.apply(node) == []
        (found,) = node.lookup("db")
        registered = await node.register(
            "db",
            port=5432,
            host="db.internal",
            id="db-1",
            tags=["v2"],
            meta={"team": "a"},
            weight=5,
            zone="eu-2",
            role="primary",
            term=3,
            checks=[Check(ttl=30, initial="passing"), Check(command=["true"], interval=60, initial="passing")],
        )
        assert found == registered


async def test_what_a_file_leaves_open_is_filled_in_by_the_node(files: Files) -> None:
    files.write("orders.toml", '[[services]]\nservice = "orders"\nport = 80\n')
    async with open_node(config("web-1", zone="eu-1")) as node:
        await files.apply(node)
        (found,) = node.lookup("orders")
        assert found == await node.register("orders", port=80)


async def test_the_agents_own_file_defines_services_among_its_settings(tmp_path: Path) -> None:
    own = tmp_path / "agent.toml"
    own.write_text(f'zone = "eu-1"\n{ORDERS}')
    found = DefinitionFiles(own, None, commands=False).read()
    assert [located.where for located in found.located] == [f"{own}: service 1"]
    assert found.wrong == ()


def test_files_are_read_in_the_order_of_their_names_and_others_are_left_alone(files: Files) -> None:
    files.write("b.toml", BILLING)
    files.write("a.toml", ORDERS)
    for name in ("a.toml~", ".a.toml", "README"):
        files.write(name, "neither read nor TOML")
    found = files.files.read()
    assert [located.spec.service for located in found.located] == ["orders", "billing"]


async def test_read_again_the_new_comes_the_changed_is_replaced_and_what_went_is_gone(files: Files) -> None:
    files.write("orders.toml", ORDERS)
    gone = files.write("billing.toml", BILLING)
    async with open_node(config()) as node:
        await files.apply(node)
        assert offered(node) == {"orders-1": 80, "billing-1": 90}
        files.write("orders.toml", ORDERS.replace("80", "81"))
        files.write("web.toml", '[[services]]\nservice = "web"\nport = 8080\nid = "web-1"\n')
        gone.unlink()
        assert await files.apply(node) == []
        assert offered(node) == {"orders-1": 81, "web-1": 8080}


async def test_what_has_not_changed_goes_on_as_it_stands(files: Files) -> None:
    files.write("orders.toml", f"{ORDERS}checks = [{{ ttl = 30 }}]\n{BILLING}checks = [{{ ttl = 30 }}]\n")
    async with open_node(config()) as node:
        await files.apply(node)
        await node.heartbeat("orders-1")
        await node.set_maintenance("billing-1", "new disk")
        before = node.index("orders"), node.index("billing")
        assert await files.apply(node) == []
        assert (node.index("orders"), node.index("billing")) == before
        assert {report.instance: report.runs for report in node.checks()} == {"orders-1": 1, "billing-1": 0}
        assert [instance.reason for instance in node.lookup("billing", healthy=False)] == ["new disk"]


async def test_a_change_keeps_the_checks_that_stay_the_same_and_the_maintenance(files: Files) -> None:
    files.write("orders.toml", f"{ORDERS}checks = [{{ ttl = 30 }}]\n")
    async with open_node(config()) as node:
        await files.apply(node)
        await node.heartbeat("orders-1")
        await node.set_maintenance("orders-1", "new disk")
        files.write("orders.toml", f"{ORDERS}weight = 7\nchecks = [{{ ttl = 30 }}]\n")
        await files.apply(node)
        (found,) = node.lookup("orders", healthy=False)
        assert (found.weight, found.reason) == (7, "new disk")
        assert [report.runs for report in node.checks()] == [1]


async def test_what_was_registered_otherwise_is_left_alone(files: Files) -> None:
    files.write("orders.toml", ORDERS)
    async with open_node(config()) as node:
        await node.register("web", port=8080, id="web-1")
        await files.apply(node)
        await node.register("orders", port=81, id="orders-1")  # a program takes it over
        (files.directory / "orders.toml").unlink()
        assert await files.apply(node) == []
        assert offered(node) == {"web-1": 8080, "orders-1": 81}


async def test_what_was_deregistered_otherwise_is_back_when_the_files_are_read_again(files: Files) -> None:
    files.write("orders.toml", ORDERS)
    async with open_node(config()) as node:
        await files.apply(node)
        await node.deregister("orders-1")
        assert offered(node) == {}
        await files.apply(node)
        assert offered(node) == {"orders-1": 80}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text("[[services"),
        lambda path: path.write_bytes(b"\xff"),
        lambda path: path.write_text('[[services]]\nservice = "billing"\n'),
    ],
)
async def test_a_file_that_is_wrong_stands_for_what_it_last_said_and_the_others_count(
    files: Files, spoil: Callable[[Path], object]
) -> None:
    files.write("orders.toml", ORDERS)
    path = files.write("billing.toml", BILLING)
    async with open_node(config()) as node:
        await files.apply(node)
        spoil(path)
        files.write("orders.toml", ORDERS.replace("80", "81"))
        (sentence,) = await files.apply(node)
        assert str(path) in sentence
        assert offered(node) == {"orders-1": 81, "billing-1": 90}
        path.write_text(BILLING.replace("90", "91"))
        assert await files.apply(node) == []
        assert offered(node) == {"orders-1": 81, "billing-1": 91}


async def test_a_directory_that_cannot_be_read_takes_nothing_away(files: Files) -> None:
    files.write("orders.toml", ORDERS)
    async with open_node(config()) as node:
        await files.apply(node)
        moved = files.directory.rename(files.directory.with_name("elsewhere"))
        (sentence,) = await files.apply(node)
        assert sentence.startswith(f"services_dir: cannot read {files.directory}: No such file or directory")
        assert offered(node) == {"orders-1": 80}
        moved.rename(files.directory)
        assert await files.apply(node) == []


async def test_two_of_one_id_are_refused_with_both_places_and_nothing_is_done(files: Files) -> None:
    a = files.write("a.toml", ORDERS)
    async with open_node(config()) as node:
        await files.apply(node)
        b = files.write("b.toml", BILLING + ORDERS.replace("80", "81"))
        with pytest.raises(ConfigError) as refused:
            await files.apply(node)
        assert str(refused.value).startswith(f"{b}: service 2: id: 'orders-1' is that of {a}: service 1 too")
        assert offered(node) == {"orders-1": 80}


def test_two_definitions_may_share_a_default_id(files: Files) -> None:
    files.write("a.toml", 2 * '[[services]]\nservice = "orders"\nport = 80\n')
    with pytest.raises(ConfigError, match="id: 'orders-web-1-80' is that of"):
        by_id(files.files.read().located, "web-1")


async def test_a_definition_that_the_node_refuses_is_named_and_the_others_count(files: Files) -> None:
    meta = ", ".join(f'k{number} = "{"x" * 900}"' for number in range(100))
    path = files.write("big.toml", f"{ORDERS}meta = {{ {meta} }}\n{BILLING}")
    async with open_node(config()) as node:
        (sentence,) = await files.apply(node)
        assert sentence.startswith(f"{path}: service 1: instance 'orders-1': its record has ")
        assert offered(node) == {"billing-1": 90}


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("port = 80", "service: is missing"),
        ('service = "orders"', "port: is missing"),
        ('service = "no good"\nport = 80', "service: 'no good' is not a name"),
        ('service = "orders"\nport = "80"', 'port: "80" is not a whole number'),
        (
            'service = "orders"\nport = 80\nprot = 1',
            "'prot': an instance has no such field; it has service, port,",
        ),
        ('service = "orders"\nport = 80\nhost = 1', "host: 1 is not a string"),
        ('service = "orders"\nport = 80\nid = 1', "id: 1 is not a string"),
        ('service = "orders"\nport = 80\ntags = "v2"', 'tags: "v2" is not a list of strings'),
        ('service = "orders"\nport = 80\ntags = [1]', "tags: 1 is not a string"),
        ('service = "orders"\nport = 80\nmeta = 1', "meta: 1 is not an object of strings"),
        ('service = "orders"\nport = 80\nmeta = { a = 1 }', "meta: 1 is not a string"),
        ('service = "orders"\nport = 80\nweight = true', "weight: true is not a whole number"),
        ('service = "orders"\nport = 80\nzone = 1', "zone: 1 is not a string"),
        ('service = "orders"\nport = 80\nrole = []', "role: [] is not a string"),
        ('service = "orders"\nport = 80\nterm = 1.5', "term: 1.5 is neither a whole number nor"),
        ('service = "orders"\nport = 80\nchecks = [{ tcp = "a" }]', "checks[0].tcp: 'a' is not HOST:PORT"),
        ('service = "orders"\nport = 80\nchecks = 1', "checks: 1 is not a list of checks"),
        ('service = "orders"\nport = 1979-05-27', "port: datetime.date(1979, 5, 27) is not a whole number"),
    ],
)
def test_a_table_that_is_wrong_is_named_with_its_file_and_field(files: Files, table: str, sentence: str) -> None:
    path = files.write("a.toml", f"{BILLING}[[services]]\n{table}\n")
    wrong = files.wrong()
    assert wrong.startswith(f"{path}: service 2: {sentence}")
    assert "\n" not in wrong


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[services]\nport = 80\n", "services: is not a list of tables: write [[services]] above each"),
        ("services = [1]\n", "service 1: 1 is not a table: write [[services]]"),
        ("zone = 'eu-1'\n", "unknown key 'zone': write [[services]]"),
    ],
)
def test_a_file_of_services_holds_nothing_else(files: Files, text: str, sentence: str) -> None:
    path = files.write("a.toml", text)
    assert files.wrong().startswith(f"{path}: {sentence}")


@pytest.mark.parametrize("value", ["8" * 5000, "[" * 5000 + "]" * 5000], ids=["long", "deep"])
def test_a_file_that_python_cannot_read_is_named(files: Files, value: str) -> None:
    path = files.write("a.toml", f"{ORDERS}x = {value}\n")
    assert files.wrong().startswith(f"{path} is not TOML: ")


def test_commands_are_for_agents_that_allow_them(files: Files) -> None:
    files.write("a.toml", f'{ORDERS}checks = [{{ command = ["true"] }}]\n')
    assert files.files.read().wrong == ()
    files.files.commands = False
    assert files.wrong().endswith('checks: commands are off on this node: set command_checks to "own" or "api"')


# Whatever is done

#: Files, each with ids of its own; None is a file that is not TOML, an empty one defines nothing.
_contents = st.none() | st.dictionaries(st.sampled_from([1, 2]), st.integers(80, 82))
_steps = st.one_of(
    st.tuples(st.just("write"), st.sampled_from("ab"), _contents),
    st.tuples(st.just("unlink"), st.sampled_from("ab"), st.none()),
    st.tuples(st.just("register"), st.sampled_from(["a1", "b2", "c"]), st.integers(90, 91)),
    st.tuples(st.just("deregister"), st.sampled_from(["a1", "a2", "b2", "c"]), st.none()),
    st.tuples(st.just("read"), st.none(), st.none()),
    st.tuples(st.just("restart"), st.none(), st.none()),
)


@attrs.define
class Model:
    """What a node with these files must offer, said in as few words as possible."""

    files: dict[str, dict[int, int] | None] = attrs.field(factory=dict)
    right: dict[str, dict[int, int]] = attrs.field(factory=dict)
    offered: dict[str, int] = attrs.field(factory=dict)
    defined: set[str] = attrs.field(factory=set)

    def read(self) -> None:
        said = {name: self.right.get(name, {}) if ids is None else ids for name, ids in self.files.items()}
        self.right = said
        wanted = {f"{name}{id}": port for name, ids in said.items() for id, port in ids.items()}
        self.offered = {id: port for id, port in self.offered.items() if id not in self.defined} | wanted
        self.defined = set(wanted)

    def register(self, id: str, port: int | None) -> None:
        self.defined.discard(id)
        self.offered.pop(id, None)
        if port is not None:
            self.offered[id] = port


def _text(ids: dict[int, int] | None, name: str) -> str:
    if ids is None:
        return "[[services"
    table = '[[services]]\nservice = "s"\nport = {}\nid = "{}{}"\n'
    return "".join(table.format(port, name, id) for id, port in ids.items())


async def _play(steps: list[tuple[str, Any, Any]], directory: Path) -> None:
    model, kept = Model(), config("web-1", data_dir=directory / "data")
    services = directory / "services.d"
    services.mkdir()
    lives = iter([*(place for place, step in enumerate(steps) if step[0] == "restart"), len(steps)])
    begun = 0
    for end in lives:
        files = Files(services, DefinitionFiles(None, services, commands=False))
        async with open_node(kept) as node:
            await files.apply(node)
            model.right = {}
            model.read()
            for verb, what, how in steps[begun:end]:
                match verb:
                    case "write":
                        files.write(f"{what}.toml", _text(how, what))
                        model.files[what] = how
                    case "unlink":
                        (services / f"{what}.toml").unlink(missing_ok=True)
                        model.files.pop(what, None)
                    case "register":
                        await node.register("s", port=how, id=what)
                        model.register(what, how)
                    case "deregister" if what in model.offered:
                        await node.deregister(what)
                        model.register(what, None)
                    case "read":
                        await files.apply(node)
                        model.read()
                assert offered(node) == model.offered
        begun = end + 1


@settings(max_examples=30, deadline=None)
@given(st.lists(_steps, max_size=12))
def test_a_node_offers_what_its_files_say_and_what_was_registered_and_nothing_else(
    steps: list[tuple[str, Any, Any]],
) -> None:
    with TemporaryDirectory() as directory:
        trio.run(_play, steps, Path(directory))


# Over a restart


async def test_a_definition_that_went_meanwhile_is_not_brought_back_from_disk(files: Files, tmp_path: Path) -> None:
    kept = config("web-1", data_dir=tmp_path / "data")
    files.write("orders.toml", ORDERS)
    files.write("billing.toml", BILLING)
    async with open_node(kept) as node:
        await files.apply(node)
        await node.register("web", port=8080, id="web-1")
    (files.directory / "billing.toml").unlink()
    async with open_node(kept) as node:
        assert offered(node) == {"web-1": 8080}  # the files have not spoken yet
        await files.apply(node)
        assert offered(node) == {"web-1": 8080, "orders-1": 80}
    files.write("billing.toml", "")
    (files.directory / "orders.toml").unlink()
    async with open_node(kept) as node:
        await files.apply(node)
        assert offered(node) == {"web-1": 8080}
    async with open_node(kept) as node:
        await node.register("orders", port=99, id="orders-1")
        await files.apply(node)
    async with open_node(kept) as node:  # what has taken the place of a definition is no definition
        assert offered(node) == {"web-1": 8080, "orders-1": 99}


async def test_a_definition_wins_over_what_was_registered_under_its_id(files: Files, tmp_path: Path) -> None:
    kept = config("web-1", data_dir=tmp_path / "data")
    async with open_node(kept) as node:
        await node.register("orders", port=99, id="orders-1")
    files.write("orders.toml", ORDERS)
    async with open_node(kept) as node:
        await files.apply(node)
        assert offered(node) == {"orders-1": 80}


async def test_maintenance_outlives_a_restart(files: Files, tmp_path: Path) -> None:
    kept = config("web-1", data_dir=tmp_path / "data")
    files.write("orders.toml", ORDERS)
    async with open_node(kept) as node:
        await files.apply(node)
        await node.set_maintenance("orders-1", "new disk")
    async with open_node(kept) as node:
        await files.apply(node)
        assert [instance.reason for instance in node.lookup("orders", healthy=False)] == ["new disk"]


def test_a_file_with_credentials_that_others_can_read_is_wrong(files: Files) -> None:
    file = files.write("pg.toml", '[[services]]\nservice = "pg"\nport = 5432\ncredentials = { password = "x" }\n')
    file.chmod(0o644)
    assert files.wrong().startswith(f"{file} is secret, and every user of this machine can open it (mode 0644): ")
    file.chmod(0o600)
    assert files.files.read().wrong == ()


def test_if_checks_may_run_commands_no_other_user_may_write_the_files(files: Files) -> None:
    file = files.write("web.toml", '[[services]]\nservice = "web"\nport = 80\n')
    file.chmod(0o664)
    assert DefinitionFiles(None, files.directory, commands=False).read().wrong == ()
    assert files.wrong().startswith(f"{file} can be changed by its group (mode 0664): ")
    file.chmod(0o644)
    assert files.files.read().wrong == ()
    files.directory.chmod(0o770)
    assert files.wrong().startswith(f"{files.directory} can be changed by its group (mode 0770): ")
