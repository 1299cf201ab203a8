"""Key files: which keys a node takes from them, and what is said of one that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gossipreg import ConfigError, limits
from gossipreg.config import Config
from gossipreg.errors import UnsafeFile
from gossipreg.key_format import encode_key
from gossipreg.runtime.key_files import NodeKeys, read_key_file
from tests.hidden import hidden

ONE, TWO = bytes(32), bytes(range(32))


def test_a_file_holds_one_key_a_line_and_the_first_is_the_primary_one(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    hidden(file, f"# made in May\n\n  {encode_key(TWO)}  \n{encode_key(ONE)}\n")
    assert NodeKeys.of(Config(key_file=file)).gossip == (TWO, ONE)
    assert NodeKeys.of(Config(key=encode_key(ONE))).gossip == (ONE,)
    assert NodeKeys.of(Config()).gossip == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which alone may let a group read a key")
def test_a_command_of_root_reads_the_key_file_that_root_lets_an_agents_group_read(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    hidden(file, encode_key(ONE))
    file.chmod(0o640)
    assert read_key_file("keys add", file, 16, of_agent=True) == (ONE,)
    file.chmod(0o644)
    with pytest.raises(UnsafeFile, match="run chmod 640"):
        read_key_file("keys add", file, 16, of_agent=True)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("# nothing\n", "0 keys are not 1 to 16, one a line"),
        (f"{encode_key(ONE)}\n" * 2, "a key is there twice: remove one of the lines"),
        ("AAAA\n", "the key has 3 bytes, not 32: make one with `gossipreg keygen --out FILE`"),
        (
            "".join(f"{encode_key(bytes([each]) * 32)}\n" for each in range(limits.GOSSIP_KEYS_MAX + 1)),
            "17 keys are not 1 to 16, one a line",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: str, sentence: str) -> None:
    file = tmp_path / "keys"
    hidden(file, content)
    with pytest.raises(ConfigError) as refused:
        read_key_file("key_file", file, limits.GOSSIP_KEYS_MAX)
    assert str(refused.value) == f"key_file {file}: {sentence}"


def test_none_of_the_gossips_keys_seals_credentials(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    hidden(file, f"{encode_key(TWO)}\n{encode_key(ONE)}\n")
    with pytest.raises(ConfigError, match="credential_key: it holds the key of the gossip"):
        NodeKeys.of(Config(key_file=file, credential_key=encode_key(ONE)))
    with pytest.raises(ConfigError, match=f"credential_key_file {file}: it holds the key of the gossip"):
        NodeKeys.of(Config(key=encode_key(ONE), credential_key_file=file))
