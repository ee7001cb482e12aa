"""Processes of this machine, a scheduler of the user, SLURM jobs: who may connect, what is said where none comes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import distributed
import pytest

from cluster_work import square
from mrsynth.core import cluster
from mrsynth.core.errors import InputError
from mrsynth.core.jobs import Workers, run_each


def answers(items: list[int], workers: Workers):
    return dict(run_each(square, items, workers))


def test_nobody_without_the_keys_may_connect():
    with cluster.client_of(None, 1) as client:
        address = client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        assert client.submit(os.getpid).result() != os.getpid()
        stranger = distributed.Security.temporary()  # keys, but not ours
        for attempt in (
            {"address": address.replace("tls", "tcp")},
            {"address": address, "security": stranger},
        ):
            with pytest.raises((OSError, TypeError, RuntimeError)):
                distributed.Client(timeout=1, **attempt)
        (worker,) = client.scheduler_info()["workers"]
        assert worker.startswith("tls://127.0.0.1:")


def test_only_loopback_is_listened_on_and_no_page_is_served():
    import psutil

    with cluster.client_of(None, 1):
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        ports = [c.laddr for p in family for c in p.net_connections("inet") if c.status == "LISTEN"]
        assert ports
        assert {port.ip for port in ports} == {"127.0.0.1"}


def test_two_commands_with_workers_run_at_once_and_say_nothing():
    with cluster.client_of(None, 1) as one, cluster.client_of(None, 1) as other:
        assert one.submit(square, 7).result()[0] == other.submit(square, 7).result()[0] == 49


def test_a_scheduler_that_runs_is_used():
    with distributed.LocalCluster(n_workers=1, processes=True, dashboard_address="127.0.0.1:0") as own:
        found = answers([7, 13], Workers(1, own.scheduler_address))
    assert found[7][0] == 49
    assert found[7][1] != os.getpid()
    assert "13" in found[13].why


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    with pytest.raises(InputError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        answers([1], Workers(1, "tcp://127.0.0.1:9"))


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command sbatch that begins nothing, and is found."""
    command = tmp_path / "bin" / "sbatch"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\nexit 0\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    return command


class FakeSlurm:
    """Stands in for dask-jobqueue's cluster: there is no SLURM here."""

    asked: tuple[tuple[int, int], ...] = ()
    begins = 1

    def __init__(
        self,
        protocol: str,
        security: distributed.Security,
        shared_temp_directory: str,
        scheduler_options: dict[str, object],
    ) -> None:
        assert (protocol, shared_temp_directory) == ("tls://", str(Path.home()))
        self.local = distributed.LocalCluster(
            n_workers=self.begins,
            processes=True,
            dashboard_address=None,
            scheduler_kwargs=scheduler_options,
            protocol=protocol,
            security=security,
        )

    def __enter__(self) -> object:
        self.local.adapt = lambda minimum_jobs, maximum_jobs: setattr(
            FakeSlurm, "asked", (*FakeSlurm.asked, (minimum_jobs, maximum_jobs))
        )
        return self.local

    def __exit__(self, *error: object) -> None:
        self.local.close()


class NotConfigured:
    def __init__(self, **settings: object) -> None:
        raise ValueError("You must specify how many cores to use per job")


def test_slurm_is_asked_for_as_many_jobs_as_workers(monkeypatch, sbatch: Path):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", SimpleNamespace(SLURMCluster=FakeSlurm))
    found = answers([3, 13], Workers(2, "slurm"))
    assert found[3][0] == 9
    assert FakeSlurm.asked == ((1, 2),)


def test_a_queue_that_never_starts_is_told(monkeypatch, sbatch: Path):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", SimpleNamespace(SLURMCluster=FakeSlurm))
    monkeypatch.setattr(FakeSlurm, "begins", 0)
    monkeypatch.setattr(cluster, "QUEUE_S", 0.5)
    with pytest.raises(InputError, match="No job of SLURM began within"):
        answers([3], Workers(2, "slurm"))


@pytest.mark.parametrize(
    ("module", "message"),
    [(None, "pip install 'mrsynth"), (SimpleNamespace(SLURMCluster=NotConfigured), "how many cores")],
)
def test_slurm_that_cannot_be_used_is_explained(monkeypatch, sbatch: Path, module: object, message: str):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", module)
    with pytest.raises(InputError) as error:
        answers([1], Workers(1, "slurm"))
    assert message in str(error.value)


def test_without_sbatch_there_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", SimpleNamespace(SLURMCluster=FakeSlurm))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="no command sbatch"):
        answers([1], Workers(1, "slurm"))


def test_ctrl_c_while_the_processes_start_is_no_traceback(tmp_path: Path):
    """The terminal sends it to all processes; those of Dask never see it."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import sys, os
        sys.path.insert(0, os.environ["WORK"])
        from mrsynth.core.jobs import Workers, run_each
        from cluster_work import square
        if __name__ == "__main__":
            print("begin", flush=True)
            try:
                print(len(list(run_each(square, list(range(12)), Workers(2)))))
            except KeyboardInterrupt:
                sys.exit(130)
        """)
    )
    for wait in (0.2, 1.0):
        process = subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "WORK": str(Path(__file__).parents[1])},
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "begin\n"
        time.sleep(wait)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode in (0, 130)
        assert "Traceback" not in said
