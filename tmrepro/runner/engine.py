"""The engine that does the tasks of a run. For one worker, nothing of Dask is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from tmrepro.data import Dataset
from tmrepro.numerics.determinism import Determinism
from tmrepro.reporting.progress import Reporter
from tmrepro.runner.cluster import Engine, InProcess, Link
from tmrepro.spec import Spec
from tmrepro.usercode import CodeRecord


@contextmanager
def engine_of(
    spec: Spec,
    device: torch.device,
    determinism: Determinism,
    dataset: Dataset,
    code: Mapping[str, CodeRecord],
    *,
    evaluator: str | None,
    workers: int,
    link: Link | None,
    reporter: Reporter,
) -> Iterator[Engine]:
    """Yield the engine: this process if `workers` is 1, else workers of a scheduler or new processes. Always close it."""
    if link is None and workers <= 1:
        yield InProcess()
        return
    from tmrepro.runner.cluster.coordinator import Cluster
    from tmrepro.runner.setup import RunSetup, identity_of

    setup = RunSetup(
        spec=spec,
        device=device.type,
        determinism=determinism,
        evaluator=evaluator,
        fingerprint=dataset.fingerprint,
        signature=dataset.signature,
        code=code,
        identity=identity_of(device, determinism),
    )
    cluster = Cluster(setup, reporter=reporter, link=link, workers=workers)
    try:
        if link is not None:
            cluster.connect()  # fail before hours of work; local processes start when they are needed
            if cluster.dashboard is not None:
                reporter.note(f"Dask's dashboard: {cluster.dashboard}")
        yield cluster
    finally:
        cluster.close()
