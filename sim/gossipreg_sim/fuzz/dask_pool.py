"""The same sweep on a Dask cluster that runs already."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from importlib import import_module
from itertools import islice
from typing import Any

from gossipreg.errors import GossipregError
from gossipreg_sim.fuzz.pool import Work
from gossipreg_sim.fuzz.verdict import Verdict

#: Runs under way at a time, for each thread of the cluster: so many that none waits for us.
_AHEAD = 2


class DaskError(GossipregError):
    """A Dask cluster that cannot be used; the sentence says what to do."""


def run_on_dask(work: Work, seeds: Iterator[int], address: str) -> Generator[tuple[int, Verdict], None, None]:
    """The verdicts on ``seeds`` by the workers of the cluster at ``address``, as they come. Raises `DaskError`.

    The workers need gossipreg and its simulator in the same version as ours. Close it to let the cluster go.
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
            yield asked.pop(future.key), _verdict(future)
            running.update([ask(seed) for seed in islice(seeds, 1)])


def _verdict(future: Any) -> Verdict:
    """The answer, or why there is none: the worker died, or could not even begin."""
    if future.status == "finished":
        verdict: Verdict = future.result()
        return verdict
    error = future.exception()
    return Verdict.without_trace("worker died", f"{type(error).__name__}: {error}".splitlines()[0])
