"""The commands about the keys of the gossip list, add, use and remove them, by their ids."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from gossipreg.cli.time_format import local
from gossipreg.key_format import encode_key
from tests.cli.conftest import Ran
from tests.cli.fake_agent import FakeAgent
from tests.hidden import hidden

AT = 1_700_000_000.123
NEW = {"id": "0a1b2c3d", "primary": True, "held_by": 3, "used_by": 2, "not_held_by": [], "until": None}
OLD = {"id": "1f2e3d4c", "primary": False, "held_by": 1, "used_by": 0, "not_held_by": ["web-2", "web-3"], "until": AT}
TABLE = f"0a1b2c3d\tprimary\t3\t2\t-\t-\n1f2e3d4c\t-\t1\t0\t{local(AT)}\tweb-2, web-3\n"


def test_keys_are_listed_with_how_many_members_hold_and_use_each(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    assert ask("keys", "list") == Ran(0, "", "gossipreg: the gossip is in clear: there is no key\n")
    fake.keys = [NEW, OLD]
    assert ask("keys", "list") == Ran(0, TABLE, "")
    assert json.loads(ask("keys", "list", "--json").out) == {"keys": [NEW, OLD]}
    fake.identity_mode = {"mode": "prefer", "not_ready": ["web-2", "web-3"]}
    noted = ask("keys", "list")
    assert noted == Ran(0, TABLE, "gossipreg: identity is `prefer`; not ready for `require`: web-2, web-3\n")
    fake.identity_mode = {"mode": "prefer", "not_ready": [], "unsigned_policies": ["split:orders"]}
    noted = ask("keys", "list")
    assert noted == Ran(0, TABLE, "gossipreg: identity is `prefer`; policies that are not signed: split:orders\n")
    fake.identity_mode = {"mode": "require", "not_ready": []}
    assert ask("keys", "list") == Ran(0, TABLE, "gossipreg: identity is `require`\n")


def test_the_key_of_a_file_is_added(fake: FakeAgent, ask: Callable[..., Ran], tmp_path: Path) -> None:
    file = tmp_path / "new.key"
    hidden(file, encode_key(bytes(32)) + "\n")
    assert ask("keys", "add", str(file)) == Ran(0, "key 0a1b2c3d added\n", "")
    method, path, body = fake.requests[-1][:3]
    assert (method, path, body) == ("PUT", "/api/v1/keys", {"key": encode_key(bytes(32))})
    hidden(file, f"{encode_key(bytes(32))}\n{encode_key(bytes([1]) * 32)}\n")
    two = ask("keys", "add", str(file))
    assert two == Ran(2, "", f"gossipreg: keys add {file}: it holds 2 keys: put the one to add into its own file\n")
    file.chmod(0o644)
    assert "chmod" in ask("keys", "add", str(file)).err
    none = ask("keys", "add", str(tmp_path / "none"))
    assert none == Ran(2, "", f"gossipreg: keys add: cannot read {tmp_path / 'none'}: No such file or directory\n")


def test_a_key_is_used_and_removed_by_its_id(fake: FakeAgent, ask: Callable[..., Ran]) -> None:
    fake.keys = [NEW, OLD]
    assert ask("keys", "use", "0a1b2c3d", "--keep", "1h", "--force") == Ran(0, TABLE, "")
    assert fake.requests[-1][2] == {"id": "0a1b2c3d", "keep": "1h", "force": True}
    ask("keys", "use", "0a1b2c3d")
    assert fake.requests[-1][2] == {"id": "0a1b2c3d", "keep": "72h", "force": False}
    assert ask("keys", "remove", "1f2e3d4c") == Ran(0, "key 1f2e3d4c removed\n", "")
    assert fake.requests[-1][:2] == ("DELETE", "/api/v1/keys/1f2e3d4c")
    assert ask("keys", "remove", "feedbeef") == Ran(1, "", "gossipreg: no member holds a key 'feedbeef'\n")
