"""A run from its spec to its manifest: open the folder, go through the stages, close it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tmrepro.data import load_dataset
from tmrepro.determinism import Determinism, apply
from tmrepro.errors import ArtefactError, DamagedError, UsageError
from tmrepro.parameters import layout_of
from tmrepro.pipeline import closing
from tmrepro.pipeline.context import Context, Donor, examples_on
from tmrepro.pipeline.documents import store_crate, store_report
from tmrepro.pipeline.models import relabel_model, train_model
from tmrepro.pipeline.provenance import stage_platform
from tmrepro.pipeline.surfaces import evaluate_surface
from tmrepro.progress import Reporter
from tmrepro.records import Minimum
from tmrepro.spec import Spec, dump_spec, expand_models, expand_surfaces, first_difference, load_spec
from tmrepro.store.atomic import WORK, remove, work_folder, write_text
from tmrepro.store.documents import read_json, write_json
from tmrepro.store.lock import run_lock
from tmrepro.store.manifest import MANIFEST, check_manifest, write_manifest
from tmrepro.store.minima import read_minimum
from tmrepro.store.stages import StageBook, StageRecord, record_from
from tmrepro.store.surfaces import consolidate
from tmrepro.view import load_theta


@dataclass(frozen=True)
class RunResult:
    """A finished run. `already_complete`: the folder held it before, and nothing was done."""

    run: Path
    already_complete: bool
    minima: Mapping[str, Minimum]
    statistics: closing.Statistics


def execute(
    spec: Spec,
    *,
    out: Path,
    data_dir: Path | None,
    download: bool,
    device: str,
    workers: int,
    reuse: Path | None,
    evaluator: str | None,
    reporter: Reporter,
) -> RunResult:
    """Run `spec` into the folder `out`, continuing what is there (see `tmrepro.run` for the arguments and errors)."""
    chosen = choose_device(device)
    open_folder(out, spec)
    with run_lock(out):
        if _is_complete(out):
            return _result(out, spec, already_complete=True)
        _reopen(out, reporter)
        return _run(
            spec,
            out=out,
            data_dir=data_dir,
            download=download,
            device=chosen,
            workers=workers,
            donor=Donor(reuse) if reuse is not None else None,
            evaluator=evaluator,
            reporter=reporter,
        )


def choose_device(name: str) -> torch.device:
    """The torch device that --device asks for.

    Raises:
        UsageError: there is none.
    """
    if name not in {"auto", "cpu", "cuda"}:
        raise UsageError(f"--device {name}: choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this machine has no CUDA device that torch can use; choose --device cpu")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def open_folder(out: Path, spec: Spec) -> None:
    """Make sure that `out` is a folder which can hold a run of `spec`, without changing what is in it.

    Raises:
        UsageError: it is a file, holds something else, or holds the run of another spec.
        DamagedError: its spec.yaml is not one.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; choose a folder with --out")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / "spec.yaml").exists():
        if {item.name for item in out.iterdir()} <= {WORK}:
            return
        raise UsageError(f"{out} is not empty and holds no run; choose another --out, or empty it")
    try:
        found = load_spec(out / "spec.yaml")
    except UsageError as error:
        raise DamagedError(f"{out / 'spec.yaml'} is damaged: {error}") from error
    difference = first_difference(spec, found)
    if difference is not None:
        raise UsageError(
            f"{out} holds the run of another spec: {difference}. Choose another --out; with --reuse {out} it takes over "
            "whatever still holds"
        )


def _is_complete(out: Path) -> bool:
    """Whether the folder holds a finished run whose bytes are what its manifest says."""
    finished = (out / MANIFEST).exists() and not (out / WORK / "stages").exists()
    return finished and not check_manifest(out, working=True)


def _reopen(out: Path, reporter: Reporter) -> None:
    """Bring back the stage records of a finished run that was damaged since, so that what is whole is kept.

    Raises:
        DamagedError: there are files in it that no run writes.
    """
    if not (out / MANIFEST).exists() or (out / WORK / "stages").exists():
        return
    findings = check_manifest(out, working=True)
    extra = [finding.path for finding in findings if finding.problem == "extra"]
    if extra:
        raise DamagedError(f"{out / extra[0]}: not a file of this run; remove it, then run again")
    reporter.note(f"{out} was finished, but {findings[0].message}; what is damaged is made again")
    book = StageBook(out)
    try:
        for document in read_json(out / "provenance.json", name="provenance.json")["stages"].values():
            book.put(record_from(document))
    except (ArtefactError, KeyError, TypeError, AttributeError):
        reporter.note("provenance.json is damaged as well: all of it is made again")
    remove(out / MANIFEST)


def _run(
    spec: Spec,
    *,
    out: Path,
    data_dir: Path | None,
    download: bool,
    device: torch.device,
    workers: int,
    donor: Donor | None,
    evaluator: str | None,
    reporter: Reporter,
) -> RunResult:
    begin = time.monotonic()
    determinism = Determinism(spec.compute.determinism, spec.compute.threads)
    apply(determinism)
    work = work_folder(out)
    write_text(out / "spec.yaml", dump_spec(spec), work=work)
    started = _first_start(out)
    remove(work)  # what a killed process left
    dataset = load_dataset(spec.data, data_dir=data_dir, download=download)
    context = Context(
        spec=spec,
        run=out,
        book=StageBook(out),
        reporter=reporter,
        device=device,
        determinism=determinism,
        workers=workers,
        platform=stage_platform(device, determinism=determinism),
        dataset=dataset,
        examples=examples_on(dataset, scaling=spec.data.scaling, device=device),
        evaluator=evaluator,
        donor=donor,
    )
    minima, surfaces = _stages(context)
    consolidate(out)
    statistics = closing.store_statistics(context, surfaces)
    closing.store_figures(context, surfaces, minima)
    _drop_stale(context, {*(f"training/{name}" for name in minima), *(f"minimum/{name}" for name in minima),
                          *(record.name for record in surfaces.values()), "figures"})  # fmt: skip
    layouts = {name: _layout(context, name) for name in minima}
    provenance = closing.provenance(context, started=started, layouts=layouts, seconds=time.monotonic() - begin)
    write_json(out / "provenance.json", provenance, work=work)
    store_report(context, minima=minima, statistics=statistics, provenance=provenance)
    if context.failures:
        raise context.failures[0]
    store_crate(context, provenance=provenance)
    write_manifest(out, work=work)
    shutil.rmtree(out / WORK)
    return RunResult(out, already_complete=False, minima=minima, statistics=statistics)


def _stages(context: Context) -> tuple[dict[str, Minimum], dict[tuple[str, str], StageRecord]]:
    """Models first, all of them; then the surfaces of those that did not collapse."""
    trained, relabelled, minima = {}, {}, {}
    models = {model.name: model for model in expand_models(context.spec)}
    for name, model in models.items():
        trained[name] = train_model(context, model)
        relabelled[name], minima[name] = relabel_model(context, model, training=trained[name])
    surfaces = {}
    for drawn in expand_surfaces(context.spec):
        for name in drawn.models:
            if minima[name].category != "collapsed":
                surfaces[drawn.name, name] = evaluate_surface(
                    context, drawn, models[name], training=trained[name], minimum=relabelled[name]
                )
    return minima, surfaces


def _drop_stale(context: Context, wanted: set[str]) -> None:
    context.book.drop([record.name for record in context.book.records() if record.name not in wanted])


def _layout(context: Context, name: str) -> list[list[Any]]:
    model = next(model for model in expand_models(context.spec) if model.name == name)
    module = load_theta(context.run, model, classes=context.examples.classes, size=context.spec.data.size)
    return [[parameter.name, list(parameter.shape)] for parameter in layout_of(module)]


def _first_start(out: Path) -> str:
    path = out / WORK / "started.json"
    if not path.exists():
        write_json(path, closing.now(), work=work_folder(out))
    started = read_json(path, name="started.json")
    return started if isinstance(started, str) else closing.now()


def _result(out: Path, spec: Spec, *, already_complete: bool) -> RunResult:
    minima = {model.name: read_minimum(out, model.name) for model in expand_models(spec)}
    statistics = read_json(out / "statistics.json", name="statistics.json")
    return RunResult(out, already_complete=already_complete, minima=minima, statistics=statistics)
