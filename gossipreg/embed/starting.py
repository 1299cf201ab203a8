"""Starting: the thread for a node by what its configuration says: a member, or attached to the host's agent.

Each kind is loaded only when there is one: a process that attaches loads no member, nor trio.
"""

from __future__ import annotations

from gossipreg.config import Config
from gossipreg.embed.host_thread import HostThread


def start_thread(config: Config | None) -> HostThread:
    """The thread in which the node is being opened. Raises ``ConfigError`` where there can be none."""
    config = config or Config()
    if config.attach is not None:
        from gossipreg.embed.attached.thread import AttachedThread

        return AttachedThread.start(config)
    from gossipreg.embed.node_thread import NodeThread

    return NodeThread.start(config)
