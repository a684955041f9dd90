"""Export of a run in one of the formats, into a new file or folder outside the run. It is complete or not written at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, assert_never, get_args

from tmrepro.errors import UsageError
from tmrepro.store.atomic import make_folder, storage_error
from tmrepro.store.finished import Finished, path_outside, read_finished

Format = Literal["netcdf", "vtk", "csv", "bagit"]
FORMATS: tuple[Format, ...] = get_args(Format)

_ENDINGS: dict[Format, str] = {"netcdf": ".nc", "vtk": "-vtk", "csv": "-csv", "bagit": "-bag"}


def export_run(folder: Path, *, to: str, out: Path | None = None) -> Path:
    """Write the finished run or reference `folder` in the format `to`, one of `FORMATS`. Return the path that was written.

    Args:
        folder: a run or reference. It is checked against its manifest first, and is not changed.
        to: the format.
        out: a new file (netcdf) or folder; by default NAME.nc, NAME-vtk, NAME-csv or NAME-bag in the working directory.

    Raises:
        UsageError: the format is unknown, or `out` exists.
        DamagedError: the run differs from its manifest.
        StorageError: the disk is full, or `out` cannot be written.
    """
    if to not in FORMATS:
        raise UsageError(f"--to {to}: choose one of {', '.join(FORMATS)}")
    run = read_finished(folder)
    target = path_outside(out or Path(f"{run.spec.name}{_ENDINGS[to]}"), folder, option="--out")
    if os.path.lexists(target):
        raise UsageError(f"{target} already exists; remove it, or choose another --out")
    write = _writer(to)
    with _taking_its_place(target) as fresh:
        write(run, fresh)
    return target


def _writer(kind: Format) -> Callable[[Finished, Path], None]:
    """Return the function that writes a format. Only the libraries of this format are loaded."""
    match kind:
        case "netcdf":
            from tmrepro.reporting.export.netcdf import write_netcdf

            return write_netcdf
        case "vtk":
            from tmrepro.reporting.export.vtk import write_vtk

            return write_vtk
        case "csv":
            from tmrepro.reporting.export.tables import write_tables

            return write_tables
        case "bagit":
            from tmrepro.reporting.export.bag import write_bag

            return write_bag
        case _:
            assert_never(kind)


@contextmanager
def _taking_its_place(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`, with the same name. It becomes `target` if there is no error."""
    make_folder(target.parent)
    try:
        work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    except OSError as error:
        raise storage_error(target, error) from error
    try:
        yield work / target.name
        (work / target.name).replace(target)
    except OSError as error:
        raise storage_error(target, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
