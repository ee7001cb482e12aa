"""Cases side by side: every item is answered, a broken one stops no other, here and in worker processes."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from cluster_work import square, write_and_look
from mrsynth.core import jobs as cluster
from mrsynth.core.errors import InputError, OutputError
from mrsynth.core.jobs import Failure, Workers, default_workers, run_each
from mrsynth.core.progress import listening


def answers(items, workers):
    told = []
    with listening(lambda name, what: told.append((name, what))):
        found = dict(run_each(square, items, workers))
    return found, told


@pytest.mark.parametrize("workers", [Workers(1), Workers(2)], ids=["here", "two processes"])
def test_a_broken_item_is_a_failure_and_stops_no_other(workers):
    found, told = answers([3, 13, 14, 15, 5], workers)
    assert found[3][0] == 9
    assert found[5][0] == 25
    assert "13 cannot be squared" in found[13].why
    assert "take another" in found[13].why
    assert found[13].stops is None
    assert "ValueError: unforeseen" in found[14].why
    assert isinstance(found[15].stops, OutputError)
    assert (found[3][1] == os.getpid()) == workers.in_process
    assert {name for name, _ in told} <= {"3", "13", "14", "15", "5"}
    assert told or not workers.in_process


def test_a_worker_that_dies_takes_only_its_own_item_with_it():
    found, _ = answers([2, 16, 4, 6, 8], Workers(2))
    assert [found[n][0] for n in (2, 4, 6, 8)] == [4, 16, 36, 64]
    assert isinstance(found[16], Failure)
    assert "--workers" in found[16].why


@pytest.mark.parametrize("workers", [Workers(1), Workers(2)], ids=["here", "two processes"])
def test_an_item_waits_for_what_it_needs(workers, tmp_path):
    first, other = (tmp_path / "first", None), (tmp_path / "other", None)
    last = (tmp_path / "last", tmp_path / "first")
    items = [first, other, last]
    found = dict(run_each(write_and_look, items, workers, lambda i: [first] if i is last else []))
    assert found == dict.fromkeys(items, True)


def test_no_item_needs_no_cluster():
    assert list(run_each(square, [], Workers(2))) == []


def test_a_scheduler_that_runs_is_used():
    import distributed

    with distributed.LocalCluster(n_workers=1, processes=True, dashboard_address="127.0.0.1:0") as own:
        found, _ = answers([7, 13], Workers(1, own.scheduler_address))
    assert found[7][0] == 49
    assert found[7][1] != os.getpid()
    assert "13" in found[13].why


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    with pytest.raises(InputError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        answers([1], Workers(1, "tcp://127.0.0.1:9"))


def test_workers_follow_cores_and_memory():
    assert 1 <= default_workers() <= os.cpu_count()
    assert Workers(1).in_process
    assert not Workers(2).in_process
    assert not Workers(1, "tcp://somewhere:1").in_process


class FakeSlurm:
    """Stands in for dask-jobqueue's cluster: there is no SLURM here."""

    asked: tuple[int, ...] = ()

    def __init__(self) -> None:
        import distributed

        self.local = distributed.LocalCluster(n_workers=1, processes=True, dashboard_address="127.0.0.1:0")
        self.scheduler_address = self.local.scheduler_address

    def __enter__(self):
        return self.local

    def __exit__(self, *error):
        self.local.close()

    def scale(self, jobs: int) -> None:
        FakeSlurm.asked = (*FakeSlurm.asked, jobs)


class NotConfigured:
    def __init__(self) -> None:
        raise ValueError("You must specify how many cores to use per job")


def test_slurm_is_asked_for_as_many_jobs_as_workers(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", SimpleNamespace(SLURMCluster=FakeSlurm))
    found, _ = answers([3, 13], Workers(2, "slurm"))
    assert found[3][0] == 9
    assert FakeSlurm.asked == (2,)


@pytest.mark.parametrize(
    ("module", "message"),
    [(None, "pip install 'mrsynth"), (SimpleNamespace(SLURMCluster=NotConfigured), "how many cores")],
)
def test_slurm_that_cannot_be_used_is_explained(monkeypatch, module, message):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", module)
    with pytest.raises(InputError) as error:
        answers([1], Workers(1, "slurm"))
    assert message in str(error.value)
