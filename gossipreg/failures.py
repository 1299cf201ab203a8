"""Failures of the system: the reason of one, in a few words for people."""

from __future__ import annotations

import errno
import os

from gossipreg.text import blanked


def reason_of(error: BaseException) -> str:
    """Why something failed, in a few words on one line: the reason of the innermost cause, without its number.

    Of a group of failures, such as attempts at several addresses, each reason is told once.
    """
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, BaseExceptionGroup):
        return ", ".join(dict.fromkeys(reason_of(each) for each in cause.exceptions))
    if isinstance(cause, OSError) and cause.strerror:
        where = "" if cause.filename is None else f"{cause.filename}: "
        number = cause.errno or 0
        text = os.strerror(number) if number in errno.errorcode and not _is_tls(cause) else cause.strerror
        return f"{where}{text.lower()}"
    return blanked(str(cause)) or type(cause).__name__


def _is_tls(cause: OSError) -> bool:
    """Whether the number is OpenSSL's (``ssl.SSLError``), not the system's. Nothing is imported to find out."""
    return type(cause).__module__ == "ssl"
