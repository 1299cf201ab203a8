"""Knows how a TOML file is read, and how to say that it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gossipreg.errors import ConfigError


def read_toml(file: Path) -> dict[str, Any]:
    """The tables of a file. Raises ``ConfigError``, naming it."""
    import tomllib  # most programs run without a file

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # also of numbers too long and tables too deep to read
        raise ConfigError(f"{file} is not TOML: {error}") from None
