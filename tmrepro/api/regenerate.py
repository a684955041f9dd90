"""Regenerates figures, page and statistics of a finished run from its stored data. The run folder is never changed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal, cast

from tmrepro.errors import UsageError
from tmrepro.runner.curvature import draw_spectra
from tmrepro.runner.documents import error_notes, judge_run, report_page
from tmrepro.runner.drawings import draw_figures
from tmrepro.runner.outputs import Statistics, statistics_of
from tmrepro.runner.view import RunView, open_run
from tmrepro.store.atomic import make_folder, write_bytes, write_text
from tmrepro.store.finished import path_outside


def draw_again(run: Path, *, to: Path | None, scale: str | None) -> list[Path]:
    """Draw all figures of `run` into the folder `to`. Return their paths."""
    if scale not in {None, "auto", "linear", "log"}:
        raise UsageError(f"--scale {scale}: choose auto, linear or log")
    view = open_run(run)
    folder = path_outside(to or Path(f"{view.spec.name}-figures"), run, option="--to")
    written: list[Path] = []
    with tempfile.TemporaryDirectory(dir=_made(folder)) as work:

        def write(path: Path, data: bytes) -> None:
            write_bytes(path, data, work=Path(work))
            written.append(path)

        draw_figures(
            run,
            spec=view.spec,
            minima={name: view.minimum(name) for name in view.models},
            folder=folder,
            write=write,
            scale=cast("Literal['auto', 'linear', 'log'] | None", scale),
        )
        draw_spectra(run, view.spec, folder=folder, write=write)
    return written


def write_report_again(run: Path, *, to: Path | None) -> Path:
    """Write the page of `run` to the file `to`. Return its path."""
    view = open_run(run)
    target = path_outside(to or Path(f"{view.spec.name}.html"), run, option="--to")
    if target.is_dir():
        raise UsageError(f"{target} is a folder; give a file with --to")
    minima, statistics = {name: view.minimum(name) for name in view.models}, compute_statistics_of(view)
    text = report_page(
        run,
        spec=view.spec,
        minima=minima,
        statistics=statistics,
        provenance=view.provenance,
        warnings=[],
        claims=judge_run(run, spec=view.spec, minima=minima, statistics=statistics, provenance=view.provenance),
        page=target,
    )
    with tempfile.TemporaryDirectory(dir=_made(target.parent)) as work:
        write_text(target, text, work=Path(work))
    return target


def compute_statistics_again(run: Path) -> Statistics:
    """Return all statistics of the surfaces stored in `run`."""
    return compute_statistics_of(open_run(run))


def errors_in_words(run: Path, statistics: Statistics) -> list[str]:
    """Return a line for each surface whose error is over the bound or unknown."""
    return error_notes(run, statistics)


def compute_statistics_of(view: RunView) -> Statistics:
    """See `compute_statistics_again`."""
    return statistics_of(view.folder, view.surfaces)


def _made(folder: Path) -> Path:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; choose a folder with --to")
    make_folder(folder)
    return folder
