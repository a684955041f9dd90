"""A run from its spec to its manifest: open the folder, go through the stages, close it."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tmrepro.claims import Judgement
from tmrepro.data import load_dataset
from tmrepro.errors import ComputeError, DamagedError, UsageError
from tmrepro.networks import build_model, code_of_model
from tmrepro.networks.parameters import layout_of
from tmrepro.numerics.determinism import Determinism, apply
from tmrepro.records import Minimum, Signature
from tmrepro.reporting.cells import run_html
from tmrepro.reporting.progress import Reporter
from tmrepro.runner import outputs
from tmrepro.runner.cluster import Link
from tmrepro.runner.context import Context, Donor, examples_on
from tmrepro.runner.curvature import forget_stale_curvature
from tmrepro.runner.documents import judge_run, store_claims, store_crate, store_report
from tmrepro.runner.drawings import store_figures
from tmrepro.runner.engine import engine_of
from tmrepro.runner.fitting import require_fitting
from tmrepro.runner.folder import check_foreign, forget_stale, is_complete, leaving_no_trace, open_folder, reopen
from tmrepro.runner.planes import store_planes
from tmrepro.runner.provenance import stage_platform
from tmrepro.runner.stages import run_stages
from tmrepro.runner.unchanged import require_unchanged, tells_of_its_stages
from tmrepro.spec import CustomModel, Spec, dump_spec, expand_models, expand_surfaces
from tmrepro.statistics import STATISTICS
from tmrepro.store.atomic import WORK, remove, work_folder, write_text
from tmrepro.store.curvature import curvature_files
from tmrepro.store.documents import read_json, write_json
from tmrepro.store.lock import remove_work, run_lock
from tmrepro.store.manifest import write_manifest
from tmrepro.store.minima import read_minimum
from tmrepro.store.run_files import PROVENANCE, SPEC
from tmrepro.store.stages import StageBook
from tmrepro.store.statistics import read_statistics
from tmrepro.store.surfaces import consolidate
from tmrepro.surface import find_evaluator
from tmrepro.surface.conduct import examine
from tmrepro.training import Examples
from tmrepro.usercode import CodeRecord


@dataclass(frozen=True)
class RunResult:
    """The result of a run. `already_complete`: the folder held the finished run before, and nothing was computed.

    `notes`: which data and code could not be checked. `claims`: the judgement of the paper's claims, if the run has the
    networks that they compare. `missing`: the networks that --only left out. The run is incomplete until they are computed.
    """

    run: Path
    already_complete: bool
    minima: Mapping[str, Minimum]
    statistics: outputs.Statistics
    notes: tuple[str, ...] = ()
    claims: Judgement | None = None
    missing: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        state = f"not complete: lacks {', '.join(self.missing)}" if self.missing else "complete"
        lines = [f"note: {note}" for note in self.notes]
        title = f"{self.run}: {state}"
        return run_html(self.run, title=title, minima=self.minima, statistics=self.statistics, lines=lines)


def execute(
    spec: Spec,
    *,
    out: Path,
    data_dir: Path | None,
    download: bool,
    device: str,
    workers: int,
    reuse: Sequence[Path],
    only: Sequence[str],
    evaluator: str | None,
    preview: bool,
    reporter: Reporter,
    home: Path | None = None,
    link: Link | None = None,
) -> RunResult:
    """Run `spec` in the folder `out`; continue a run that is there. See `tmrepro.run` for the arguments and errors."""
    chosen = choose_device(device)
    wanted = chosen_models(spec, only)
    if link is not None:
        link.check()
    if evaluator is not None:
        find_evaluator(evaluator)  # before hours of training
    open_folder(out, spec)
    if not os.path.lexists(out / WORK) and is_complete(out):
        notes = require_unchanged(out, spec, data_dir=data_dir, download=download)
        return _complete(out, spec, notes, reporter)  # without the lock, which would change the folder
    donors = [open_donor(folder, out=out) for folder in reuse]
    with run_lock(out), leaving_no_trace(out):
        open_folder(out, spec)  # check again under the lock
        if is_complete(out):  # the process that finished it was killed before it removed .work
            notes = require_unchanged(out, spec, data_dir=data_dir, download=download)
            remove_work(out)
            return _complete(out, spec, notes, reporter)
        if tells_of_its_stages(out):
            require_unchanged(
                out, spec, data_dir=data_dir, download=download
            )  # otherwise another result would replace it
        reopen(out, reporter, also=curvature_files(spec))
        dataset = load_dataset(spec.data, data_dir=data_dir, download=download)
        require_fitting(spec, dataset)
        for note in dataset.notes:
            reporter.note(note)
        determinism = Determinism(spec.compute.determinism, spec.compute.threads)
        apply(determinism)
        examples = examples_on(dataset, scaling=spec.data.scaling, device=chosen)
        code = _try_models(spec, examples, signature=dataset.signature, only_custom=(out / SPEC).exists())
        notes = tuple(f"{name}: {note}" for name, record in code.items() for note in record.notes)
        for note in notes:
            reporter.note(note)
        write_text(out / SPEC, dump_spec(spec), work=work_folder(out))
        platform = stage_platform(chosen, determinism=determinism)
        with engine_of(
            spec, chosen, determinism, dataset, code, evaluator=evaluator, workers=workers, link=link, reporter=reporter
        ) as engine:
            context = Context(
                spec=spec,
                run=out,
                book=StageBook(out),
                reporter=reporter,
                engine=engine,
                device=chosen,
                determinism=determinism,
                platform=platform,
                dataset=dataset,
                examples=examples,
                code=code,
                evaluator=evaluator,
                preview=preview,
                donors=donors,
                home=home,
            )
            missing = tuple(model.name for model in expand_models(spec) if model.name not in wanted)
            return replace(_part(context, wanted, missing) if missing else _run(context), notes=notes)


def choose_device(name: str) -> torch.device:
    """Return the torch device that --device names.

    Raises:
        UsageError: the name is unknown, or the machine has no such device.
    """
    if name not in {"auto", "cpu", "cuda"}:
        raise UsageError(f"--device {name}: choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this machine has no CUDA device that torch can use; choose --device cpu")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def chosen_models(spec: Spec, only: Sequence[str]) -> frozenset[str]:
    """Return the names of the networks that --only selects; all networks if it is not given.

    Raises:
        UsageError: a network is unknown, or a surface around one needs another network.
    """
    names = [model.name for model in expand_models(spec)]
    for name in only:
        if name not in names:
            raise UsageError(f"--only {name}: this run has no such network; it has {', '.join(names)}")
    chosen = frozenset(only or names)
    for drawn in expand_surfaces(spec):
        needed = set(drawn.spec.directions.between or ()) - chosen
        around = sorted(chosen.intersection(drawn.models))
        if needed and around:
            raise UsageError(
                f"--only {around[0]}: surface {drawn.name} lies between networks; add --only {' --only '.join(sorted(needed))}"
            )
    return chosen


def open_donor(reuse: Path, *, out: Path) -> Donor:
    """Open a run folder named by --reuse.

    Raises:
        UsageError: it is the folder of this run.
        DamagedError: it has no run.
    """
    if reuse.resolve() == out.resolve():
        raise UsageError(f"--reuse {reuse} is the run folder itself, which is continued anyway; remove this option")
    return Donor(reuse)


def _try_models(spec: Spec, examples: Examples, *, signature: Signature, only_custom: bool) -> dict[str, CodeRecord]:
    """Build every network once, so that a wrong factory or width raises an error before hours of training.

    A custom network must also compute each example independently of the others. Return the code of the custom networks, which
    are always built.
    """
    code = {}
    for model in spec.models:
        if isinstance(model, CustomModel):
            code[model.name] = code_of_model(model, signature=signature)
        if only_custom:
            continue
        module = build_model(model, signature=signature, seed=0)
        if isinstance(model, CustomModel):
            module = module.to(examples.inputs.device)
            examine(copy.deepcopy(module).eval(), examples.inputs, name=f"model {model.name!r}", given=module)
    return code


def _part(context: Context, wanted: Collection[str], missing: tuple[str, ...]) -> RunResult:
    """Run the stages of the networks `wanted`. The folder stays unfinished."""
    _first_start(context.run)
    found = run_stages(context, wanted)
    if context.failures:
        raise _failure(context, closing="the other networks are finished")
    return RunResult(context.run, already_complete=False, minima=found.minima, statistics={}, missing=missing)


def _run(context: Context) -> RunResult:
    begin, out, work = time.monotonic(), context.run, context.work
    started = _first_start(out)
    remove(work)  # files of a killed process
    found = run_stages(context, {model.name for model in expand_models(context.spec)})
    surfaces, relabelled = found.surfaces, found.relabelled
    forget_stale(context, [*found.minima], [*surfaces], paths=[*found.paths], directions=[*found.directions])
    consolidate(out)
    statistics = outputs.store_statistics(context, surfaces)
    minima = {
        name: store_planes(context, minimum, stage=relabelled[name], surfaces=surfaces, statistics=statistics)
        for name, minimum in found.minima.items()
    }
    store_figures(context, surfaces, relabelled, found.paths)
    forget_stale_curvature(out, context.spec, work=work)
    check_foreign(out, context.book.records(), also=curvature_files(context.spec))
    layouts = {name: _layout(context, name) for name in minima}
    provenance = outputs.provenance(context, started=started, layouts=layouts, seconds=time.monotonic() - begin)
    write_json(out / PROVENANCE, provenance, work=work)
    claims = store_claims(context, minima=minima, statistics=statistics, provenance=provenance)
    store_report(context, minima=minima, statistics=statistics, provenance=provenance, claims=claims)
    if context.failures:
        raise _failure(context, closing=f"what could be computed is in {out / 'report.html'}; the run is not complete")
    store_crate(context, provenance=provenance)
    write_manifest(out, work=work)
    remove_work(out)
    return RunResult(out, already_complete=False, minima=minima, statistics=statistics, claims=claims)


def _failure(context: Context, *, closing: str) -> ComputeError:
    """Return one error for all networks that failed."""
    first, *more = context.failures
    told = "\n".join(str(failure) for failure in context.failures)
    kind = type(first) if all(type(failure) is type(first) for failure in more) else ComputeError
    return kind(f"{told}\n{closing}")


def _layout(context: Context, name: str) -> list[list[Any]]:
    model = next(model for model in expand_models(context.spec) if model.name == name)
    module = build_model(model.spec, signature=context.dataset.signature, seed=model.seed)
    return [[parameter.name, list(parameter.shape)] for parameter in layout_of(module)]


def _first_start(out: Path) -> str:
    path = out / WORK / "started.json"
    if not path.exists():
        write_json(path, outputs.now(), work=work_folder(out))
    started = read_json(path, name="started.json")
    return started if isinstance(started, str) else outputs.now()


def _complete(out: Path, spec: Spec, notes: tuple[str, ...], reporter: Reporter) -> RunResult:
    """Return the result of a run that was already finished."""
    for note in notes:
        reporter.note(note)
    minima = {model.name: read_minimum(out, model.name) for model in expand_models(spec)}
    statistics = read_statistics(out)
    known = {info.name for info in STATISTICS}
    if any(set(values) != known for models in statistics.values() for values in models.values()):
        raise DamagedError(
            f"{out / 'statistics.json'}: missing or unexpected statistics; recompute the run in another folder"
        )
    provenance = read_json(out / PROVENANCE, name=PROVENANCE)
    claims = judge_run(out, spec=spec, minima=minima, statistics=statistics, provenance=provenance)
    return RunResult(out, already_complete=True, minima=minima, statistics=statistics, notes=notes, claims=claims)
