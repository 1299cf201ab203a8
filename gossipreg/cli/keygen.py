"""The `keygen` command: makes a key, and writes it where only this user can read it."""

from __future__ import annotations

from pathlib import Path

import click

from gossipreg.cli import show
from gossipreg.cli.agent_options import as_json
from gossipreg.cli.help_page import command
from gossipreg.cli.new_file import write_once
from gossipreg.key_format import KEY_BYTES, encode_key, key_id


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
        write_once(out, text)
        show.say(f"key {key_id(key)} written to {out}", {"file": str(out), "id": key_id(key)}, as_json=as_json)
