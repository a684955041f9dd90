"""Tasks go to workers that were admitted, with what they need; stages take turns. The workers here are threads."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tmrepro.errors import ComputeError, DamagedError, UsageError
from tmrepro.reporting.progress import Silent
from tmrepro.runner.cluster import InProcess, Stage, Task
from tmrepro.runner.cluster import coordinator as room
from tmrepro.runner.cluster.coordinator import TASKS_PER_WORKER, Cluster

CONTENT = b"theta*"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
WORKERS = 2


@dataclass(frozen=True)
class Setup:
    """What a run asks; `refusal` is what each worker finds, `own` its own data, or what is wrong with them."""

    refusal: str | None = None
    key: str = "test"
    own: str | Exception | None = None

    def prepare(self) -> str | None:
        return self.refusal

    def own_data(self) -> str | None:
        if isinstance(self.own, Exception):
            raise self.own
        return self.own

    def open(self, dataset: Any) -> Any:
        return Workspace(Path(), dataset)

    def begin(self) -> None:
        pass

    def at(self, workspace: Any, run: Path) -> Any:
        return Workspace(run, workspace.dataset)


@dataclass(frozen=True)
class Workspace:
    run: Path
    dataset: Any


@dataclass(frozen=True, kw_only=True)
class Read(Task[tuple[int, bytes, str]]):
    """Its number, what is in the file `theta`, and the data."""

    number: int = 0
    needs: dict[str, str] = field(default_factory=lambda: {"theta": DIGEST})

    def compute(self, workspace: Any) -> tuple[int, bytes, str]:
        return self.number, (workspace.run / "theta").read_bytes(), workspace.dataset


@dataclass(frozen=True, kw_only=True)
class Fail(Task[None]):
    error: Exception
    needs: dict[str, str] = field(default_factory=dict)

    def compute(self, workspace: Any) -> None:  # noqa: ARG002
        raise self.error


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    (tmp_path / "theta").write_bytes(CONTENT)
    return Workspace(tmp_path, "data")


@pytest.fixture
def cluster(monkeypatch, tmp_path) -> Iterator[Any]:
    """Start a coordinator whose workers are threads of this process."""
    from distributed import LocalCluster

    def local_cluster(workers: int) -> Any:
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
            local_directory=str(tmp_path / "dask"),
        )

    monkeypatch.setattr(room, "local_cluster", local_cluster)
    monkeypatch.setattr(room, "kill_workers", lambda _cluster: None)
    monkeypatch.setattr(room, "starts_of", lambda _cluster: 0.0)
    started: list[Cluster] = []

    def start(setup: Setup | None = None) -> Cluster:
        started.append(Cluster(setup or Setup(), reporter=Silent(), workers=WORKERS))
        return started[-1]

    yield start
    for each in started:
        each.close()


def test_files_and_data_travel_to_each_worker_once(cluster, workspace, monkeypatch):
    sent: list[tuple[tuple[str, ...], bool]] = []
    real = room.content_of
    monkeypatch.setattr(room, "content_of", lambda *a, **o: sent.append(a) or real(*a, **o))
    engine = cluster()
    results = list(engine.each((Read(number=number) for number in range(20)), workspace))
    assert sorted(results) == [(number, CONTENT, "data") for number in range(20)]
    assert 1 <= len(sent) <= WORKERS
    assert engine.call(Read(number=20), workspace) == (20, CONTENT, "data")
    assert len(sent) <= WORKERS


def test_workers_that_have_the_data_are_not_sent_them(cluster, workspace):
    assert cluster(Setup(own="own data")).call(Read(), workspace) == (0, CONTENT, "own data")


def test_workers_that_have_other_data_are_refused_in_words(cluster, workspace):
    with pytest.raises(ComputeError, match="cannot take part: the data are others"):
        cluster(Setup(own=UsageError("the data are others"))).call(Read(), workspace)


def test_tasks_are_sent_only_as_workers_need_them(cluster, workspace):
    begun = []

    def tasks() -> Iterator[Read]:
        for number in range(40):
            begun.append(number)
            yield Read(number=number)

    for done, _ in enumerate(cluster().each(tasks(), workspace)):
        assert len(begun) <= done + 1 + TASKS_PER_WORKER * WORKERS


def test_a_run_goes_on_with_workers_that_took_part_before(cluster, workspace):
    first = cluster()
    assert first.call(Read(), workspace)[0] == 0
    room.leave(first._client, "tmrepro-test")
    room.register(first._client, room.Admission(Setup()))
    results = list(first.each((Read(number=number) for number in range(10)), workspace))
    assert sorted(number for number, _, _ in results) == list(range(10))


@pytest.mark.parametrize("error", [ComputeError("the network failed"), OSError(28, "no space left"), KeyError("x")])
def test_what_a_task_raises_is_raised_here(error, cluster, workspace):
    with pytest.raises(type(error)) as raised:
        cluster().call(Fail(error=error), workspace)
    assert raised.value.args == error.args


def test_a_file_that_is_not_what_was_recorded_is_not_sent(cluster, workspace):
    (workspace.run / "theta").write_bytes(b"other")
    with pytest.raises(DamagedError, match="theta: damaged"):
        cluster().call(Read(), workspace)


def test_local_workers_that_are_refused_end_the_run(cluster, workspace):
    with pytest.raises(ComputeError, match=r"cannot take part: packages\.torch: 1 here, 2 there"):
        cluster(Setup("packages.torch: 1 here, 2 there")).call(Read(), workspace)


def graph_of(done: list[str], **dependencies: tuple[str, ...]) -> list[Stage]:
    return [Stage(name, after, lambda name=name: done.append(name)) for name, after in dependencies.items()]


@pytest.mark.parametrize("workers", [None, 1, 3])
def test_stages_wait_for_those_that_they_name(workers):
    engine = InProcess() if workers is None else Cluster(Setup(), reporter=Silent(), workers=workers)
    done: list[str] = []
    engine.graph(graph_of(done, a=(), b=("a",), c=(), d=("b", "c"), e=("a",)))
    assert sorted(done) == ["a", "b", "c", "d", "e"]
    assert done.index("a") < min(done.index("b"), done.index("e"))
    assert done.index("d") > max(done.index("b"), done.index("c"))


def test_stages_take_turns_and_pass_them_on_only_while_they_wait(cluster, workspace):
    engine, inside, met = cluster(), threading.Lock(), []

    def stage(name: str) -> None:
        for _ in range(3):
            assert inside.acquire(blocking=False), "two stages at once"
            inside.release()
            met.append((name, engine.call(Read(), workspace)[0]))

    engine.graph([Stage(name, (), lambda name=name: stage(name)) for name in "abc"])
    assert len(met) == 9


def test_the_first_error_ends_all_stages_and_is_raised(cluster, workspace):
    engine, done = cluster(), []

    def endless() -> None:
        while True:
            engine.call(Read(), workspace)

    def fails() -> None:
        raise ComputeError("enough")

    stages = [Stage("endless", (), endless), Stage("fails", (), fails), *graph_of(done, later=("endless",))]
    with pytest.raises(ComputeError, match="enough"):
        engine.graph(stages)
    assert done == []
