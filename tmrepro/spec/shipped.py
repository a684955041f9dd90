"""The files that come with the package: specs and references. In a checkout they are at its top."""

from __future__ import annotations

import os
from pathlib import Path

from tmrepro.spec.user_paths import user_path

SPECS = Path("spec")
EXAMPLES = SPECS / "examples"
_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_folder() -> Path:
    """Return the folder that holds `spec` and `paper/reference`: inside an installed package, or the checkout's top."""
    installed = _PACKAGE / "shipped"
    return installed if installed.is_dir() else _PACKAGE.parent


def find_spec(path: Path | str) -> Path:
    """Return `path` itself if it exists, else the shipped spec of that name, else `path`.

    A shipped spec is named spec/quickstart.yaml, quickstart.yaml or quickstart; an example spec/examples/table_regression.yaml.
    """
    given = user_path(path)
    is_something = given.exists() and (not given.is_dir() or (given / "spec.yaml").exists())
    folder = {Path(): SPECS, SPECS: SPECS, EXAMPLES: EXAMPLES}.get(given.parent)
    if is_something or folder is None:
        return given
    candidates = [shipped_folder() / folder / name for name in (given.name, f"{given.name}.yaml")]
    return next((candidate for candidate in candidates if candidate.is_file()), given)


def own_reference(name: str) -> Path:
    """Return the folder of the user's own reference of the spec `name`, below the working directory."""
    return Path("reference") / name


def shipped_reference(name: str) -> Path:
    """Return where the package would ship a reference of the spec called `name`."""
    return shipped_folder() / "paper" / "reference" / name


def reference_folder(name: str) -> Path:
    """Return the reference of the spec `name`: the user's own or the shipped one; the user's own if neither exists."""
    own, shipped = own_reference(name), shipped_reference(name)
    is_own = any(os.path.lexists(own / file) for file in ("spec.yaml", "bands.json"))
    return own if is_own or not shipped.is_dir() else shipped


def belongs_to_the_package(folder: Path) -> bool:
    """Return whether `folder` is in an installed package, which must not change."""
    return folder.resolve().is_relative_to(_PACKAGE)
