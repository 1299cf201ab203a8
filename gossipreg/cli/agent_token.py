"""Agent token: what the commands present to an agent, from a file or from the environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gossipreg.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

#: The variable that holds a token. There is no flag for one: any user of the machine can read command lines.
TOKEN_VARIABLE = "GOSSIPREG_TOKEN"  # noqa: S105 -- its name


def read_token(file: Path | None) -> str | None:
    """The token in ``file``, else the one in the environment, if any. Raises ``ConfigError``; quotes no token."""
    if file is None:
        text, where = os.environ.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE
        if not text:
            return None
    else:
        from gossipreg.runtime.files import read_secret

        where = f"--token-file {file}"
        try:
            text = read_secret(file).decode()
        except OSError as error:
            raise ConfigError(f"cannot read {file}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{where}: holds no token") from None
    found = text.strip()
    if not found or not all("!" <= each <= "~" for each in found):
        raise ConfigError(f"{where}: holds no token: one is printable ASCII characters without a space")
    return found
