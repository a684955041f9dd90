"""The files that come with the package: specs and references. In a checkout they stand at its top."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped_folder() -> Path:
    """The folder that holds `spec` and `paper/reference`: inside an installed package, or the checkout's top."""
    installed = _PACKAGE / "shipped"
    return installed if installed.is_dir() else _PACKAGE.parent


def find_spec(path: Path | str) -> Path:
    """`path` itself if it exists, else the shipped spec of that name ("spec/quickstart.yaml"), else `path`."""
    given = Path(path)
    shipped = shipped_folder() / "spec" / given.name
    named_as_shipped = given.parent in {Path("spec"), Path()}
    return shipped if not given.exists() and named_as_shipped and shipped.is_file() else given


def reference_folder(name: str) -> Path:
    """Where the reference of the spec called `name` is, whether or not it exists."""
    return shipped_folder() / "paper" / "reference" / name
