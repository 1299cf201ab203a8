"""The protocol on trio: one socket, one listener, one clock, and the node that programs hold."""

from __future__ import annotations

import logging

# As a library should: a program that has configured no logging gets no output. The `gossipreg` command configures it.
logging.getLogger("gossipreg").addHandler(logging.NullHandler())
