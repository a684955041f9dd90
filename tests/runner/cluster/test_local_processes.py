"""Workers that are processes of this machine: what tasks do to them, and what they cost the coordinator."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.config
import pytest

from tmrepro.errors import ComputeError
from tmrepro.reporting.progress import Silent
from tmrepro.runner.cluster.coordinator import Cluster

pytestmark = pytest.mark.slow

LOG_LENGTH = 100  # of Dask's own logs, where each entry then takes the place of another one


@pytest.fixture(scope="module")
def stand_in(_stand_ins_importable) -> Any:
    import stand_in

    return stand_in


@pytest.fixture(scope="module")
def cluster(stand_in) -> Iterator[Cluster]:
    with dask.config.set({"distributed.admin.low-level-log-length": LOG_LENGTH}):
        cluster = Cluster(stand_in.Setup(), reporter=Silent(), workers=2)
        yield cluster
        cluster.close()


def test_what_no_pickle_can_carry_is_said_in_words(cluster, stand_in):
    with pytest.raises(ComputeError, match="the network failed: 1 and 2") as raised:
        cluster.call(stand_in.Fail(in_words=True), stand_in.Run())
    assert "raise AwkwardError(1, 2)" in raised.value.__notes__[0]  # for --debug
    with pytest.raises(RuntimeError, match="AwkwardError: 1 and 2"):
        cluster.call(stand_in.Fail(in_words=False), stand_in.Run())


def test_a_task_whose_worker_dies_is_done_by_another_one(cluster, stand_in, tmp_path):
    assert cluster.call(stand_in.Die(once=tmp_path / "met"), stand_in.Run()) == "done elsewhere"


def test_a_task_whose_workers_all_die_ends_the_run(cluster, stand_in):
    with pytest.raises(ComputeError, match=r"4 workers died while they did the same task \(Die\); with less memory"):
        cluster.call(stand_in.Die(), stand_in.Run())


def test_workers_that_die_before_they_take_part_are_not_started_for_ever(stand_in):
    cluster = Cluster(stand_in.Setup(dies=True), reporter=Silent(), workers=1)
    try:
        with pytest.raises(ComputeError, match="worker processes die before they can take part"):
            cluster.call(stand_in.Chunk(number=0), stand_in.Run())
    finally:
        cluster.close()


def evaluate(cluster: Cluster, stand_in: Any, count: int) -> None:
    """As many chunks of a stand-in evaluator."""
    tasks = (stand_in.Chunk(number=number) for number in range(count))
    assert sum(int(values[0, 0]) for values in cluster.each(tasks, stand_in.Run())) == count * (count - 1) // 2


def test_many_chunks_leave_nothing_behind(cluster, stand_in):
    evaluate(cluster, stand_in, 2 * LOG_LENGTH)
    gc.collect()
    before = len(gc.get_objects())
    evaluate(cluster, stand_in, 10 * LOG_LENGTH)
    gc.collect()
    # Less than one for each. Some hundred belong to messages that are under way.
    assert len(gc.get_objects()) - before < 10 * LOG_LENGTH


@pytest.mark.soak
def test_a_hundred_thousand_chunks_take_no_more_memory_than_ten_thousand(cluster, stand_in):
    evaluate(cluster, stand_in, 10_000)
    before = resident_bytes()
    evaluate(cluster, stand_in, 90_000)
    after = resident_bytes()
    sys.stdout.write(
        f"memory of the coordinator after 10^4 and 10^5 chunks: {before / 1e6:.0f} and {after / 1e6:.0f} MB\n"
    )
    assert after < before + 20e6


def resident_bytes() -> float:
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024.0 * int(status.partition("VmRSS:")[2].split()[0])
