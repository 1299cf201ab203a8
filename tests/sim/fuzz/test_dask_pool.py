"""A sweep on a Dask cluster gives the same results."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from gossipreg_sim.fuzz.dask_pool import DaskError, run_on_dask
from tests.sim.fuzz.working import brief, plain


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    distributed = pytest.importorskip("distributed", reason='needs Dask: pip install "gossipreg[dask]"')
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.mark.slow
def test_results_equal_those_of_local_runs(address: str) -> None:
    results = dict(run_on_dask(brief, iter(range(3)), address))
    assert [(results[seed].digest, results[seed].marks) for seed in range(3)] == [
        (brief(seed).digest, brief(seed).marks) for seed in range(3)
    ]


def test_more_seeds_than_the_cluster_runs_at_once_all_complete(address: str) -> None:
    assert dict(run_on_dask(plain, iter(range(30)), address)) == {seed: plain(seed) for seed in range(30)}


def test_without_dask_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DaskError, match=r'^Dask is not installed: run pip install "gossipreg\[dask\]"$'):
        next(run_on_dask(plain, iter([1]), "tcp://127.0.0.1:1"))


def test_an_invalid_address_is_a_one_line_error() -> None:
    pytest.importorskip("distributed", reason='needs Dask: pip install "gossipreg[dask]"')
    with pytest.raises(DaskError, match=r"^no Dask cluster at nonsense://: "):
        next(run_on_dask(plain, iter([1]), "nonsense://"))
