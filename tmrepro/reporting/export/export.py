"""Which format goes where: a new file or folder, whole or not at all, never inside the run."""

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
    """Write the finished run or reference `folder` as `to`, one of `FORMATS`. Returns the path of what was written.

    Args:
        folder: a run or reference; it is checked against its manifest first, and stays as it is.
        to: the format.
        out: a file (netcdf) or folder that is not there yet; by default NAME.nc, NAME-vtk, NAME-csv or NAME-bag here.

    Raises:
        UsageError: another format, or something is at `out`.
        DamagedError: the run is not what its manifest says.
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
    """What writes a format. Its libraries are loaded here, and no other's."""
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
    """A path beside `target`, with the same name, for a file or folder that becomes `target` if all goes well."""
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
