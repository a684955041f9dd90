"""Installed from a wheel: references are built below the working directory, and looked for there before the shipped ones."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tmrepro
from tmrepro.errors import ArtefactError


def state(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def site(whole_reference: Path, tmp_path: Path) -> Path:
    """The package as a wheel puts it somewhere, with a shipped reference."""
    package = tmp_path / "site" / "tmrepro"
    ignored = shutil.ignore_patterns("__pycache__", "shipped")
    shutil.copytree(Path(tmrepro.__file__).parent, package, ignore=ignored)
    shutil.copytree(whole_reference, package / "shipped" / "paper" / "reference" / "tiny")
    shutil.copytree(Path(__file__).parents[2] / "spec", package / "shipped" / "spec")
    shutil.copy(Path(__file__).parents[2] / "paper" / "claims.yaml", package / "shipped" / "paper")
    return package.parent


def python(site: Path, code: str, *, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


CODE = """
import tmrepro
from tmrepro.errors import ArtefactError
from tmrepro.api import build_reference, update_reference
from tmrepro.errors import UsageError

assert tmrepro.__file__.startswith({site!r}), tmrepro.__file__
shipped = tmrepro.verify({run!r}, level="integrity")
assert shipped.reference == "tiny" and not shipped.notes, shipped
try:
    update_reference({run!r}, confirm=lambda update: True)
except UsageError as error:
    assert "belongs to the installed package" in str(error), error
else:
    raise AssertionError("the shipped reference was updated")
print(build_reference({spec!r}, runs={runs!r}))
(note,) = tmrepro.verify({run!r}, level="integrity").notes
print(note)
"""


def test_nothing_is_written_into_the_package(
    site: Path, home: Path, spec_file: Path, run: Path, tmp_path: Path
) -> None:
    shutil.copytree(home / "runs" / "0", tmp_path / "runs" / "0")
    here = tmp_path / "here"
    here.mkdir()
    before = state(site)
    said = python(
        site,
        CODE.format(site=str(site), run=str(run), spec=str(spec_file), runs=str(tmp_path / "runs")),
        cwd=here,
    )
    built, note = said.splitlines()
    assert built == "reference/tiny"
    assert (here / built / "bands.json").is_file()
    assert note.startswith(f"compared with the reference in {here / built}; the shipped one, {site}")
    assert state(site) == before


def test_a_reference_that_is_nowhere_is_asked_for_below_the_working_directory(
    spec_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtefactError, match="reference build SPEC --to reference/tiny"):
        tmrepro.verify(spec_file)


def test_a_folder_that_is_no_reference_hides_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tmrepro.spec.shipped import reference_folder, shipped_reference

    monkeypatch.chdir(tmp_path)
    (tmp_path / "reference" / "quickstart").mkdir(parents=True)
    assert reference_folder("quickstart") == shipped_reference("quickstart")
    (tmp_path / "reference" / "quickstart" / "bands.json").write_text("{}", encoding="utf-8")
    assert reference_folder("quickstart") == Path("reference/quickstart")
