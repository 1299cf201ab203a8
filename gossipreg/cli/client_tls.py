"""The client's side of HTTPS to an agent: which authority is trusted, and which certificate is shown."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final

from gossipreg.errors import ConfigError, UnsafeFile
from gossipreg.runtime.files import read_file

#: The variable that names a file with the authorities that are trusted, in place of the system's.
CA_VARIABLE: Final = "GOSSIPREG_CA_FILE"

#: The variable that names a file with the certificate to be shown and its key, both in PEM.
CERTIFICATE_VARIABLE: Final = "GOSSIPREG_CLIENT_CERT"


def client_context() -> ssl.SSLContext:
    """What a client needs for TLS, from the environment. Raises ``ConfigError`` for a file that cannot be used."""
    authorities = os.environ.get(CA_VARIABLE) or None
    try:
        context = ssl.create_default_context(cafile=authorities)  # without a file, the system's
    except OSError as error:
        raise ConfigError(f"{CA_VARIABLE} {authorities}: it holds no certificate in PEM: {_reason(error)}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    own = os.environ.get(CERTIFICATE_VARIABLE)
    if own:
        try:
            read_file(Path(own)).check_secret()
            context.load_cert_chain(own, password=lambda: "")
        except UnsafeFile as unsafe:
            raise UnsafeFile(f"{CERTIFICATE_VARIABLE}: {unsafe}") from None
        except OSError as error:
            raise ConfigError(
                f"{CERTIFICATE_VARIABLE} {own}: it does not hold a certificate and its key in PEM, without a "
                f"passphrase: {_reason(error)}"
            ) from None
    return context


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error).replace("_", " ").lower()
