"""Sweep on a running Dask cluster."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from importlib import import_module
from itertools import islice
from typing import Any

from gossipreg.errors import GossipregError
from gossipreg_sim.fuzz.pool import Work
from gossipreg_sim.fuzz.run_result import RunResult

#: Concurrent runs per thread of the cluster; more than one, so that no thread waits for a new seed.
_AHEAD = 2


class DaskError(GossipregError):
    """A Dask cluster that cannot be used; the message states the remedy."""


def run_on_dask(work: Work, seeds: Iterator[int], address: str) -> Generator[tuple[int, RunResult], None, None]:
    """Yield the results of ``seeds``, run by the Dask cluster at ``address``, as they arrive. Raises `DaskError`.

    The workers need the same version of gossipreg and its simulator. Close the generator to cancel pending runs.
    """
    try:
        distributed: Any = import_module("distributed")  # optional, and slow to load
    except ImportError:
        raise DaskError('Dask is not installed: run pip install "gossipreg[dask]"') from None
    try:
        client = distributed.Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise DaskError(f"no Dask cluster at {address}: {error}") from None
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise DaskError(f"the Dask cluster at {address} has no workers: start some with dask worker {address}")
        asked: dict[Any, int] = {}

        def ask(seed: int) -> Any:
            future = client.submit(work, seed, pure=False)
            asked[future.key] = seed
            return future

        first = [ask(seed) for seed in islice(seeds, _AHEAD * threads)]
        running = distributed.as_completed(first, loop=client.loop, raise_errors=False)
        for future in running:
            yield asked.pop(future.key), _result(future)
            running.update([ask(seed) for seed in islice(seeds, 1)])


def _result(future: Any) -> RunResult:
    """Return the worker's result, or a failure if the worker died or could not start."""
    if future.status == "finished":
        result: RunResult = future.result()
        return result
    error = future.exception()
    return RunResult.without_trace("worker died", f"{type(error).__name__}: {error}".splitlines()[0])
