"""The documents about a whole run: claims.json, report.html for people, ro-crate-metadata.json for other tools."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tmrepro.claims import Judgement, Source, compares_networks_of, data_of, judge, load_claims
from tmrepro.records import Minimum
from tmrepro.reporting.captions import figure_captions
from tmrepro.reporting.report import NOT_ON_THE_PAGE, PathSummary, ReportContext, figure_links, render_report
from tmrepro.runner.context import Context
from tmrepro.runner.drawings import figure_names, read_path
from tmrepro.runner.outputs import Statistics
from tmrepro.spec import LOSS_UNITS, Spec, dump_spec, expand_models, spec_hash
from tmrepro.spec.limits import FIGURE_BYTES
from tmrepro.store.atomic import read_bytes, remove, write_text
from tmrepro.store.crate import CrateFacts, CrateFile, crate_metadata
from tmrepro.store.documents import load_history
from tmrepro.store.run_files import CLAIMS, CRATE, HISTORY, MANIFEST, REPORT, SPEC, STORE, model_file, run_file
from tmrepro.store.stages import stages_in
from tmrepro.store.surfaces import read_facts

# The crate describes these separately.
_OF_THE_CRATE = frozenset({SPEC, CRATE, MANIFEST})
LICENSE_URL = "https://creativecommons.org/licenses/by/4.0/"


def store_claims(
    context: Context, *, minima: Mapping[str, Minimum], statistics: Statistics, provenance: Mapping[str, Any]
) -> Judgement | None:
    """Write claims.json if the run has the networks that the paper's claims compare. Return the judgement, or None."""
    judged = judge_run(context.run, spec=context.spec, minima=minima, statistics=statistics, provenance=provenance)
    if judged is None:
        remove(context.run / CLAIMS)
    else:
        write_text(context.run / CLAIMS, judged.text(), work=context.work)
    return judged


def judge_run(
    run: Path,
    *,
    spec: Spec,
    minima: Mapping[str, Minimum],
    statistics: Statistics,
    provenance: Mapping[str, Any],
) -> Judgement | None:
    """Judge the paper's claims over the replicates of one run. Return None if it lacks a network that they compare."""
    claims = load_claims()
    histories = {name: load_history(run / model_file(name, HISTORY)) for name in minima}
    source = Source(str(run), spec, minima, histories, statistics, data_of(provenance), provenance)
    whole = set(minima) == {model.name for model in expand_models(spec)}
    return judge([source], claims=claims) if whole and compares_networks_of(claims, source) else None


def store_report(
    context: Context,
    *,
    minima: Mapping[str, Minimum],
    statistics: Statistics,
    provenance: Mapping[str, Any],
    claims: Judgement | None,
) -> None:
    """Write report.html."""
    page = report_page(
        context.run, spec=context.spec, minima=minima, statistics=statistics, provenance=provenance,
        warnings=[*map(str, context.failures)], claims=claims, page=context.run / REPORT,
    )  # fmt: skip
    write_text(context.run / REPORT, page, work=context.work)


def report_page(
    run: Path,
    *,
    spec: Spec,
    minima: Mapping[str, Minimum],
    statistics: Statistics,
    provenance: Mapping[str, Any],
    warnings: list[str],
    claims: Judgement | None,
    page: Path,
) -> str:
    """Return the page of a run, from the files of the run. Links to the figures are relative to `page`, its future path."""
    paths = {name: run / "figures" / f"{name}.png" for name in figure_names(spec)}
    figures = {name: read_bytes(path, limit_bytes=FIGURE_BYTES) for name, path in paths.items() if path.is_file()}
    noted = [
        f"{name} is not a minimum: {minimum.reason}." for name, minimum in minima.items() if minimum.category == "none"
    ]
    noted += [
        f"{name} {minimum.category}, and has no surface: {minimum.reason}."
        for name, minimum in minima.items()
        if not minimum.has_surface and not any(words.startswith(name) for words in warnings)
    ]
    noted += [f"Surface {words}." for words in error_notes(run, statistics)]
    directions = {surface.name: surface.directions.describe() for surface in spec.surfaces}
    return render_report(
        ReportContext(
            title=spec.name,
            spec_text=dump_spec(spec),
            spec_hash=spec_hash(spec),
            minima=minima,
            statistics=statistics,
            figures=figures,
            provenance={name: value for name, value in provenance.items() if name not in NOT_ON_THE_PAGE},
            warnings=[*warnings, *noted],
            captions=figure_captions(spec, minima=minima, statistics=statistics, directions=directions),
            links=figure_links(run, page=page),
            paths=_paths(run, spec=spec, minima=minima, provenance=provenance),
            claims=claims,
            unit=LOSS_UNITS[spec.models[0].training.loss],
        )
    )


def _paths(
    run: Path, *, spec: Spec, minima: Mapping[str, Minimum], provenance: Mapping[str, Any]
) -> dict[str, PathSummary]:
    """Return the paths of training. The shares of variance are those that the stages recorded."""
    stages, found = {stage.name: stage for stage in stages_in(provenance)}, {}
    for name, minimum in minima.items():
        points = read_path(run, minimum, spec=spec)
        if points:
            record = stages.get(f"trajectory/{name}")
            shares = record.facts.get("explained") if record is not None else None
            numbers = shares if isinstance(shares, list) and all(isinstance(share, float) for share in shares) else []
            found[name] = PathSummary(points, numbers)
    return found


def error_notes(run: Path, statistics: Statistics) -> list[str]:
    """Return "SURFACE/MODEL: NOTE" for each surface whose error is over the bound or unknown."""
    errors = {
        f"{surface}/{model}": read_facts(run, surface, model).error
        for surface, models in statistics.items()
        for model in models
    }
    return [f"{name}: {error.note}" for name, error in errors.items() if error is not None and error.note]


def store_crate(context: Context, *, provenance: Mapping[str, Any]) -> None:
    """Write ro-crate-metadata.json. It lists every file of the folder except itself, the spec and the manifest."""
    facts = CrateFacts(
        name=context.spec.name,
        spec_hash=spec_hash(context.spec),
        data_name=context.spec.data.name,
        data_fingerprint=context.dataset.fingerprint,
        started=provenance["started"],
        ended=provenance["ended"],
        version=provenance["code"]["version"],
        commit=provenance["code"]["commit"],
        python=provenance["platform"]["python"],
        torch=provenance["packages"]["torch"],
        device=provenance["platform"]["device"],
        agent=_user(),
        license=LICENSE_URL,
        succeeded=True,
        files=tuple(_files(context.run)),
    )
    write_text(context.run / CRATE, crate_metadata(facts), work=context.work)


def _files(run: Path) -> list[CrateFile]:
    found = [CrateFile(f"{STORE}/", "the loss surfaces, zarr v3", "application/vnd.zarr")]
    for path in sorted(run.rglob("*")):
        relative = path.relative_to(run).as_posix()
        kind = run_file(relative)
        if (
            kind is not None
            and path.is_file()
            and not relative.startswith(f"{STORE}/")
            and relative not in _OF_THE_CRATE
        ):
            found.append(CrateFile(relative, kind.meaning, kind.media_type))
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user ID without a name, as in a container
        return "unknown"
