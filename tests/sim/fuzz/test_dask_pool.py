"""The same sweep on a Dask cluster gives the same verdicts."""

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
def test_every_seed_gets_the_verdict_that_it_gets_here(address: str) -> None:
    verdicts = dict(run_on_dask(brief, iter(range(3)), address))
    assert [(verdicts[seed].digest, verdicts[seed].marks) for seed in range(3)] == [
        (brief(seed).digest, brief(seed).marks) for seed in range(3)
    ]


def test_more_seeds_than_the_cluster_holds_at_a_time_are_all_played(address: str) -> None:
    assert dict(run_on_dask(plain, iter(range(30)), address)) == {seed: plain(seed) for seed in range(30)}


def test_without_dask_there_is_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DaskError, match=r'^Dask is not installed: run pip install "gossipreg\[dask\]"$'):
        next(run_on_dask(plain, iter([1]), "tcp://127.0.0.1:1"))


def test_an_address_that_is_none_is_one_line() -> None:
    pytest.importorskip("distributed", reason='needs Dask: pip install "gossipreg[dask]"')
    with pytest.raises(DaskError, match=r"^no Dask cluster at nonsense://: "):
        next(run_on_dask(plain, iter([1]), "nonsense://"))
