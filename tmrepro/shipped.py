"""The files that come with the package: specs and references. In a checkout they stand at its top."""

from __future__ import annotations

from pathlib import Path

from tmrepro.paths import user_path

_PACKAGE = Path(__file__).resolve().parent


def shipped_folder() -> Path:
    """The folder that holds `spec` and `paper/reference`: inside an installed package, or the checkout's top."""
    installed = _PACKAGE / "shipped"
    return installed if installed.is_dir() else _PACKAGE.parent


def find_spec(path: Path | str) -> Path:
    """`path` itself if it exists, else the shipped spec of that name, else `path`.

    A shipped spec is named spec/quickstart.yaml, quickstart.yaml or quickstart.
    """
    given = user_path(path)
    is_something = given.exists() and (not given.is_dir() or (given / "spec.yaml").exists())
    if is_something or given.parent not in {Path("spec"), Path()}:
        return given
    candidates = [shipped_folder() / "spec" / name for name in (given.name, f"{given.name}.yaml")]
    return next((candidate for candidate in candidates if candidate.is_file()), given)


def reference_folder(name: str) -> Path:
    """Where the reference of the spec called `name` is, whether or not it exists."""
    return shipped_folder() / "paper" / "reference" / name
