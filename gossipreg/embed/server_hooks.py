"""Server hooks: start and stop an offer in aiohttp's applications and gunicorn's workers. Imports neither."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from gossipreg.embed.offering import Offer

__all__ = ["aiohttp_context", "gunicorn_hooks"]


def aiohttp_context(offer: Offer) -> Callable[[object], AsyncIterator[None]]:
    """Return a context for ``app.cleanup_ctx.append``: it offers the application under ``web.run_app`` and runners.

    Handlers find the node as ``offer.node``. Append it last, so that everything else is set up before.
    """

    async def context(_: object) -> AsyncIterator[None]:
        async with offer:
            yield

    return context


def gunicorn_hooks(offer: Offer) -> tuple[Callable[[object], None], Callable[[object, object], None]]:
    """Return the hooks ``post_worker_init`` and ``worker_exit``, which start and stop ``offer`` in each worker.

    For the workers sync and gthread. Those of gevent and eventlet replace threads: they do not boot, with a
    ``ConfigError`` that says so. A configuration that has these hooks already calls ``offer.start()`` and
    ``offer.stop()`` in them.
    """

    def post_worker_init(_: object) -> None:
        offer.start()

    def worker_exit(_: object, __: object) -> None:
        offer.stop()

    return post_worker_init, worker_exit
