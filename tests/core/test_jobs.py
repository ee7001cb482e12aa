"""Cases side by side: every item is answered, a broken one stops no other, here and in worker processes."""

from __future__ import annotations

import os

import pytest

from cluster_work import square, write_and_look
from mrsynth.core.errors import OutputError
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


def test_workers_follow_cores_and_memory():
    assert 1 <= default_workers() <= os.cpu_count()
    assert Workers(1).in_process
    assert not Workers(2).in_process
    assert not Workers(1, "tcp://somewhere:1").in_process
