"""Knows how a TOML file is read, and how to say that it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gossipreg.errors import ConfigError
from gossipreg.runtime.files import read_file


def read_toml(
    file: Path, *, is_secret: Callable[[dict[str, Any]], bool] | None = None, trusted: bool = False
) -> dict[str, Any]:
    """The tables of a file. Raises ``ConfigError``, naming it.

    ``is_secret`` tells whether what the file holds is to be read by this user only; ``trusted``: it must not be for
    others to change. Raises ``UnsafeFile`` where that is not so.
    """
    import tomllib  # most programs run without a file

    try:
        read = read_file(file)
        document = tomllib.loads(read.content.decode())
        if is_secret is not None and is_secret(document):
            read.check_secret()
        elif trusted:
            read.check_trusted()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # also of numbers too long and tables too deep to read
        raise ConfigError(f"{file} is not TOML: {error}") from None
    return document
