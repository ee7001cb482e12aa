"""The processes that work on many cases: here, on a Dask cluster that the user names, or as SLURM jobs.

Scheduler and workers that are started here speak TLS with keys that live as long as they do: another user of the
machine, or of the network, who connects without them is turned away. A scheduler that you name is as you set it up.
"""

from __future__ import annotations

import logging
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from mrsynth.core.errors import InputError

KEPT_BYTES = 2**28
"""Freed memory that a worker keeps for its next images."""

CONNECT_S = 10.0
"""How long a scheduler may take to answer."""

QUEUE_S = 3600.0
"""How long the first SLURM job may wait in its queue."""

PAGES = "127.0.0.1:0"
"""Where a scheduler's server of pages listens: it cannot be left out, and at its usual port it would be in the way of
another command's."""

LOCAL = {
    # A case whose worker died (out of memory) is tried once more, not three times; and a worker holds no case in
    # stock, so that none is blamed for the death of another.
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.worker-saturation": 1.0,
    # Dask gives freed memory back at once by default; images are large, and getting it anew took half the time.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": str(KEPT_BYTES),
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": str(KEPT_BYTES),
    "distributed.worker.profile.enabled": False,
    "distributed.scheduler.http.routes": [],
}
"""Dask's settings for processes of this machine."""


@contextmanager
def client_of(scheduler: str | None, workers: int) -> Iterator[Any]:
    """Yield a client of the processes; those that were started here end with the block.

    Args:
        scheduler: None for processes of this machine, "slurm", or the address of a scheduler that runs.
        workers: how many processes, or SLURM jobs.

    Raises:
        InputError: where there is no such scheduler, or SLURM cannot be asked or starts no job.
    """
    import distributed

    if scheduler == "slurm":
        with _slurm(workers) as cluster, distributed.Client(cluster) as client:
            _await_job(client)
            yield client
    elif scheduler is None:
        with _processes(workers) as cluster, distributed.Client(cluster) as client:
            yield client
    else:
        try:
            client = distributed.Client(scheduler, timeout=CONNECT_S)
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(
                f"No Dask scheduler answers at {scheduler}.",
                found=str(error),
                expected="an address such as tcp://host:8786, or slurm",
                do="start one with `dask scheduler`, or leave --scheduler out",
            ) from error
        with client:
            yield client


@contextmanager
def _processes(workers: int) -> Iterator[Any]:
    """Yield a cluster of processes of this machine."""
    import dask
    import distributed

    with dask.config.set(LOCAL):
        with _without_interrupts():
            cluster = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                protocol="tls://",
                security=distributed.Security.temporary(),
                host="127.0.0.1",
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": PAGES},
                silence_logs=logging.CRITICAL,
            )
        with cluster:
            yield cluster


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block. Processes that are started in it never get one, which the terminal
    sends to all: they end with this one."""
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    resource_tracker.ensure_running()  # when it starts, it lets SIGINT through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _slurm(workers: int) -> Iterator[Any]:
    """Yield a cluster of SLURM jobs; one that ends at its wall time is replaced while there is work left."""
    import dask
    import distributed

    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise InputError("SLURM needs dask-jobqueue.", do="pip install 'mrsynth[hpc]'") from error
    if shutil.which("sbatch") is None:
        raise InputError(
            "SLURM cannot be asked for jobs here.",
            found="no command sbatch",
            do="run this on a login node of the cluster, or leave --scheduler out",
        )
    keys = dask.config.get("jobqueue.slurm.shared-temp-directory", None) or str(Path.home())
    try:
        cluster = SLURMCluster(
            protocol="tls://",
            security=distributed.Security.temporary(),
            shared_temp_directory=keys,
            scheduler_options={"dashboard": False, "dashboard_address": PAGES},
        )
    except (ValueError, TypeError) as error:
        raise InputError(
            "dask-jobqueue does not know how to ask SLURM for jobs.",
            found=str(error),
            expected="queue, cores and memory in dask-jobqueue's own configuration (jobqueue.slurm)",
            do="write it once: https://jobqueue.dask.org",
        ) from error
    with cluster as running:
        running.adapt(minimum_jobs=1, maximum_jobs=workers)
        yield running


def _await_job(client: Any) -> None:
    """Wait for the first SLURM job; raises InputError where none begins."""
    try:
        client.wait_for_workers(1, timeout=QUEUE_S)
    except TimeoutError as error:
        raise InputError(
            f"No job of SLURM began within {QUEUE_S / 60:.0f} minutes.",
            expected="a queue, cores and memory that the cluster grants (jobqueue.slurm)",
            do="ask `squeue --me --start` why it waits; what is finished is kept when you run this again",
        ) from error
