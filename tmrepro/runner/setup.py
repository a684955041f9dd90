"""What a run requires of its workers: its settings, and the same code, packages, arithmetic and data as the coordinator."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmrepro.errors import LoadedTooEarlyError, UsageError
from tmrepro.numerics.determinism import Determinism, apply, prepare
from tmrepro.records import Signature
from tmrepro.runner.cluster.serve import WORKER_DATA, WORKER_NUMBER
from tmrepro.spec import CustomModel, Spec, spec_hash
from tmrepro.store.stages import first_changed_input, stage_key
from tmrepro.usercode import CodeRecord

if TYPE_CHECKING:
    import torch

    from tmrepro.data import Dataset
    from tmrepro.runner.workspace import Workspace


@dataclass(frozen=True)
class RunSetup:
    """The description of a run that workers get before they load torch (see `tmrepro.runner.cluster.admission.Setup`).

    `identity` is what `identity_of` returned for the coordinator, `code` the user's code by the names of custom models.
    `fingerprint` and `signature` are those of the data.
    """

    spec: Spec
    device: str
    determinism: Determinism
    evaluator: str | None
    fingerprint: str
    signature: Signature
    code: Mapping[str, CodeRecord]
    identity: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """A hash of all fields."""
        code = {name: record.document() for name, record in self.code.items()}
        inputs = {"spec": spec_hash(self.spec), "data": self.fingerprint, "code": code, "identity": dict(self.identity)}
        return stage_key(inputs | {"evaluator": self.evaluator})[:16]

    def prepare(self) -> str | None:
        """Set up this process. Return the first difference from the coordinator, or None."""
        if self.device != "cpu":
            _take_one_gpu()
        try:
            prepare(self.determinism)
        except LoadedTooEarlyError:
            return "it has computed with other settings before; restart it"
        import torch

        from tmrepro.networks import code_of_model

        if self.device != "cpu" and not torch.cuda.is_available():
            return f"it has no {self.device} device"
        apply(self.determinism)
        if (
            found := first_changed_input(self.identity, identity_of(torch.device(self.device), self.determinism))
        ) is None:
            for model in self.spec.models:
                if isinstance(model, CustomModel):
                    record = code_of_model(model, signature=self.signature)
                    found = first_changed_input(
                        self.code[model.name].document(), record.document(), f"code of {model.name}"
                    )
                if found is not None:
                    break
        return None if found is None else f"it differs from the coordinator ({found})"

    def own_data(self) -> Dataset | None:
        """Return the data from the folder that `tmrepro worker --data-dir` named.

        Raises:
            DataError: the data are missing.
            UsageError: the data differ from the coordinator's.
        """
        from tmrepro.data import load_dataset

        if WORKER_DATA not in os.environ:
            return None
        dataset = load_dataset(self.spec.data, data_dir=Path(os.environ[WORKER_DATA]))
        if dataset.fingerprint != self.fingerprint:
            raise UsageError(
                f"the data in its --data-dir differ from the coordinator's (fingerprint {self.fingerprint[:16]} there, "
                f"{dataset.fingerprint[:16]} here)"
            )
        return dataset

    def open(self, dataset: Dataset) -> Workspace:
        """Return the workspace of all tasks, without files."""
        import torch

        from tmrepro.runner.context import examples_on
        from tmrepro.runner.workspace import Workspace

        device = torch.device(self.device)
        return Workspace(
            spec=self.spec,
            run=Path(),
            device=device,
            determinism=self.determinism,
            dataset=dataset,
            examples=examples_on(dataset, scaling=self.spec.data.scaling, device=device),
            evaluator=self.evaluator,
        )

    def begin(self) -> None:
        """Apply the settings of torch that belong to a thread."""
        apply(self.determinism)

    def at(self, workspace: Workspace, run: Path) -> Workspace:
        """Return the workspace with the files of a task."""
        return replace(workspace, run=run)


def identity_of(device: torch.device, determinism: Determinism) -> dict[str, Any]:
    """Return what must be equal in all processes that compute a run. `determinism` is in force."""
    import torch

    from tmrepro.numerics.fingerprint import fingerprint
    from tmrepro.runner.provenance import code_facts, package_versions, stage_platform

    kinds = {"cpu": "cpu"} | {device.type: str(device)}
    return {
        "tmrepro": code_facts(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "packages": package_versions() | {name: metadata.version(name) for name in ("numba", "dask", "distributed")},
        "platform": stage_platform(device, determinism=determinism),
        "arithmetic": {kind: fingerprint(torch.device(name)) for kind, name in kinds.items()},
    }


def _take_one_gpu() -> None:
    """Make one GPU visible to this worker, by its number on this machine. This must run before torch looks for GPUs."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = given.split(",") if given else [str(index) for index in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]
    if found and WORKER_NUMBER in os.environ:
        os.environ["CUDA_VISIBLE_DEVICES"] = found[int(os.environ.pop(WORKER_NUMBER)) % len(found)]
