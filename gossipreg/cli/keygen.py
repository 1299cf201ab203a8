"""The `keygen` command: makes a key, and writes it where only this user can read it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gossipreg.cli import show
from gossipreg.cli.agent_options import as_json
from gossipreg.cli.help_page import command
from gossipreg.config import KEY_BYTES, encode_key, key_id
from gossipreg.errors import GossipregError
from gossipreg.runtime.files import MAKE


@command()
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path), help="Write it to a new file that only you can read."
)
@as_json
def keygen(out: Path | None, *, as_json: bool) -> None:
    """Make a new key that seals a cluster's gossip.

    It is 32 bytes in base64. Every member needs the same. With --out the answer is the key's id, which is safe to
    show and compare; a file that exists is never overwritten.

    Examples:
      gossipreg keygen --out gossip.key
      gossipreg keygen
    """
    import secrets  # no other command needs it

    key = secrets.token_bytes(KEY_BYTES)
    text = encode_key(key)
    if out is None:
        show.say(text, {"key": text, "id": key_id(key)}, as_json=as_json)
    else:
        _write_once(out, text)
        show.say(f"key {key_id(key)} written to {out}", {"file": str(out), "id": key_id(key)}, as_json=as_json)


def _write_once(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, MAKE, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
    except FileExistsError:
        raise GossipregError(
            f"{path} exists and is not overwritten: name another file, or remove this one first"
        ) from None
    except OSError as error:
        raise GossipregError(f"cannot write {path}: {error.strerror}") from None
