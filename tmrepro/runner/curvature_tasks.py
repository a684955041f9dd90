"""The curvature of the loss at theta* of a network as a task, and these tasks done by an engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass

import torch

from tmrepro.landscape.curvature import Settings, measure
from tmrepro.networks import code_of_model
from tmrepro.numerics.determinism import Determinism
from tmrepro.numerics.inference import Targets, targets_of
from tmrepro.records import Curvature
from tmrepro.reporting.progress import Reporter, under_way
from tmrepro.runner.cluster import Link, Task
from tmrepro.runner.context import computing, examples_on
from tmrepro.runner.engine import engine_of
from tmrepro.runner.models import relabelled
from tmrepro.runner.trainings import users_code
from tmrepro.runner.view import RunView
from tmrepro.runner.weights import load_theta
from tmrepro.runner.workspace import Workspace
from tmrepro.spec import CustomModel, TrainedModel

TOLD_SECONDS = 10.0  # at most one line of progress in this time
WHY = "missing, or computed with other settings"


@dataclass(frozen=True, kw_only=True)
class MeasureCurvature(Task[tuple[str, Curvature]]):
    """Measure the curvature on the first `images` of X~. The result has the name of the network with it."""

    model: TrainedModel
    images: int
    settings: Settings

    def compute(self, workspace: Workspace) -> tuple[str, Curvature]:
        """See `Task.compute`."""
        return self.model.name, self.measure(workspace, tell=lambda _: None)

    def measure(self, workspace: Workspace, *, tell: Callable[[str], None]) -> Curvature:
        """Measure it, and report progress to `tell`."""
        name, training = self.model.name, self.model.spec.training
        with computing(f"curvature of {name}", users_code=users_code(self.model.spec)):
            network = load_theta(workspace.run, self.model, signature=workspace.dataset.signature).to(workspace.device)
            labels = relabelled(workspace, name)[: self.images]
            targets = targets_of(labels, loss=training.loss, clip=training.clip_probability)
            return measure(
                network, workspace.examples.inputs[: self.images], targets, settings=self.settings, tell=tell
            )


def measure_all(
    view: RunView,
    tasks: Mapping[str, MeasureCurvature],
    *,
    device: torch.device,
    workers: int,
    link: Link | None,
    reporter: Reporter,
) -> Generator[tuple[str, Curvature], None, None]:
    """Yield the curvature of each network as soon as it is there: measured in this process, or by workers."""
    spec, dataset, signature = view.spec, view.dataset, view.signature
    determinism = Determinism(spec.compute.determinism, spec.compute.threads)
    custom = [model for model in spec.models if isinstance(model, CustomModel)]
    code = {model.name: code_of_model(model, signature=signature) for model in custom} if workers > 1 or link else {}
    place = Workspace(
        spec=spec,
        run=view.folder,
        device=device,
        determinism=determinism,
        dataset=dataset,
        examples=examples_on(dataset, scaling=spec.data.scaling, device=device),
    )
    with engine_of(
        spec, device, determinism, dataset, code, evaluator=None, workers=workers, link=link, reporter=reporter
    ) as engine:
        if engine.in_process:
            for name, task in tasks.items():
                with under_way(reporter, f"curvature/{name}", WHY):
                    found = task.measure(place, tell=_teller(reporter, name))
                yield name, found
            return
        for name in tasks:
            reporter.stage(f"curvature/{name}", "runs", WHY)
        with closing(engine.each(tasks.values(), place)) as results:
            for name, found in results:
                reporter.ended(f"curvature/{name}")
                yield name, found


def inputs_and_targets(
    view: RunView, model: TrainedModel, *, images: int, device: torch.device
) -> tuple[torch.Tensor, Targets]:
    """Return the first `images` of X~ on `device`, and their targets."""
    labels = view.labels(model.name)[:images].to(device)
    return view.inputs()[:images].to(device), targets_of(
        labels, loss=model.spec.training.loss, clip=model.spec.training.clip_probability
    )


def _teller(reporter: Reporter, name: str) -> Callable[[str], None]:
    """Return a function that notes the first line (memory), and then one line every few seconds."""
    last = -TOLD_SECONDS

    def tell(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= TOLD_SECONDS:
            last = time.monotonic()
            reporter.note(f"{name}: {line}")

    return tell
