"""Celery: offers a worker, or each process of its pool, by Celery's own signals. Imports Celery."""

from __future__ import annotations

from celery import signals

from gossipreg.embed.offering import Offer

__all__ = ["offer_processes", "offer_worker"]


def offer_worker(offer: Offer) -> None:
    """Offer every worker of this program as one instance, by a node in its main process.

    It is offered from when it takes tasks. When it is told to end the node leaves first, and then Celery hears of that.
    """
    signals.worker_ready.connect(lambda **_: offer.start(), weak=False)
    signals.worker_shutdown.connect(lambda **_: offer.stop(), weak=False)


def offer_processes(offer: Offer) -> None:
    """Offer each process of the pool (prefork) as an instance: tasks find their process's node as ``offer.node``.

    Also a process that is recycled leaves first.
    """
    signals.worker_process_init.connect(lambda **_: offer.start(), weak=False)
    signals.worker_process_shutdown.connect(lambda **_: offer.stop(), weak=False)
