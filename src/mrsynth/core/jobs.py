"""Many cases, one function: in this process, on local worker processes, or on a Dask cluster that the user names."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from mrsynth.core.cluster import client_of
from mrsynth.core.errors import MrsynthError, OutputError, RecipeError
from mrsynth.core.progress import heard, hush, listening

A = TypeVar("A")
R = TypeVar("R")

GIB_A_WORKER = 3.0
"""Memory that one worker is given: a study of four contrasts at 1 mm stays below it (benchmarks/RESULTS.md)."""

TOPIC = "mrsynth"


@dataclass(frozen=True)
class Workers:
    """Where cases are worked on.

    Attributes:
        count: processes, None for as many as cores and memory allow.
        scheduler: the address of a running Dask scheduler (tcp://host:8786), or "slurm" to start one through
            dask-jobqueue with the settings of its own configuration file.
    """

    count: int | None = 1
    scheduler: str | None = None

    @property
    def in_process(self) -> bool:
        """Say whether the cases run here, one after the other."""
        return self.scheduler is None and self.number == 1

    @property
    def number(self) -> int:
        """How many workers there are to be."""
        return self.count if self.count is not None else default_workers()


HERE = Workers()
"""One case after the other, in this process."""


@dataclass(frozen=True)
class Failure:
    """Why the work on one item failed.

    Attributes:
        why: in words.
        stops: the error for which the whole run cannot go on (a full disk), None where it can.
    """

    why: str
    stops: MrsynthError | None = None

    def reason(self) -> str:
        """Return why it failed; raises the error where the whole run cannot go on."""
        if self.stops is not None:
            raise self.stops
        return self.why


def default_workers() -> int:
    """Return how many workers cores and memory allow."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, int(psutil.virtual_memory().available / 2**30 / GIB_A_WORKER)))


def run_each(
    work: Callable[[A], R],
    items: Sequence[A],
    workers: Workers,
    needs: Callable[[A], Sequence[A]] = lambda item: (),
) -> Iterator[tuple[A, R | Failure]]:
    """Work on many items, in this process or in several; yield each as it is finished.

    With several workers that is not quite the order in which they are begun. An error of one item is its Failure and
    stops no other. Closing the iterator cancels what has not begun.

    Args:
        work: what is done with an item. With several workers it runs in another process, where both it and the item
            arrive pickled; who listens here (`progress.listening`) hears what it says there.
        items: what is worked on, in the order of work.
        workers: how many processes, or the cluster that has them.
        needs: what must be finished, or have failed, before an item begins; the very items, which stand before it.

    Returns:
        Pairs of an item and its result, or its Failure.
    """
    if workers.in_process or not items:
        for item in items:
            yield item, guarded(work, item)
        return
    with client_of(workers.scheduler, workers.number) as client, _carried(client, work) as name:
        from distributed import as_completed

        listener = heard()
        client.subscribe_topic(TOPIC, lambda event: listener(*event[1]))
        futures: dict[int, Any] = {}  # by the item's id: an item need not be hashable
        for turn, item in enumerate(items):
            after = [futures[id(other)] for other in needs(item)]
            futures[id(item)] = client.submit(_on_worker, name, item, workers.number, after, pure=False, priority=-turn)
        waiting = {futures[id(item)]: item for item in items}
        try:
            for future in as_completed(list(waiting)):
                yield waiting.pop(future), _result(future)
        finally:
            client.cancel(list(waiting))


@contextmanager
def _carried(client: Any, work: Callable[[A], R]) -> Iterator[str]:
    """Hand a work to every worker once, also to those that start later, and yield the name under which they know it: it
    may hold a network, too much to send with each item."""
    from distributed import WorkerPlugin

    class Carried(WorkerPlugin):  # type: ignore[misc]
        """Keeps the work in a worker process."""

        def __init__(self, work: Callable[[A], R]) -> None:
            self.work = work

    name = f"mrsynth-{uuid.uuid4().hex}"
    client.register_plugin(Carried(work), name=name)
    try:
        yield name
    finally:
        with suppress(Exception):  # the cluster may be gone, and what went wrong counts
            client.unregister_worker_plugin(name)


def _on_worker(name: str, item: A, workers: int, after: Sequence[object]) -> object:
    """Do the work on one item in a worker process, which shares the machine's cores with the others.

    name: of the work (`_carried`). after: what the items that it needs returned; Dask waits for them, nothing else is
    done with it."""
    from distributed import get_worker

    from mrsynth.core.threads import limit_threads

    work = get_worker().plugins[name].work

    limit_threads(max(1, (os.cpu_count() or 1) // workers))
    hush()
    with listening(lambda name, what: get_worker().log_event(TOPIC, (name, what))):
        return guarded(work, item)


def _result(future: Any) -> Any:
    """Return a finished future's result, or a Failure where its worker died or could not begin."""
    from distributed import KilledWorker

    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, KilledWorker):
        return Failure(
            "Its worker process was ended from outside.\n"
            "  do:       mostly the memory was full: use fewer workers (--workers), or a machine with more memory"
        )
    return Failure(f"It failed in an unforeseen way: {type(error).__name__}: {error}")


def guarded(work: Callable[[A], R], item: A) -> R | Failure:
    """Do the work on one item and catch what goes wrong.

    Args:
        work: what is done.
        item: what it is done with.

    Returns:
        The result, or why the item failed.
    """
    try:
        return work(item)
    except (OutputError, RecipeError) as error:
        return Failure(str(error), stops=error)
    except MrsynthError as error:
        return Failure(str(error))
    except MemoryError:
        return Failure("It does not fit into memory.\n  do:       use fewer workers, or a machine with more memory")
    except Exception as error:  # one broken case stops no other, whatever library it broke in
        return Failure(f"It failed in an unforeseen way: {type(error).__name__}: {error}")
