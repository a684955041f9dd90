"""The README's section on a network of one's own runs as it stands."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import xarray as xr

README = Path(__file__).parents[2] / "README.md"
HEADING = "## A surface of your own network\n"


def test_the_readmes_own_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = README.read_text(encoding="utf-8").split(HEADING)[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("    ") or not line]
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(textwrap.dedent("\n".join(lines)), str(README), "exec"), names)  # noqa: S102 - our own README
    found = names["found"]
    assert isinstance(found, xr.Dataset)
    assert dict(found.sizes) == {"a": 3, "b": 2}
    with xr.open_zarr(tmp_path / "runs/mine/surfaces.zarr", group="own/model") as kept:
        assert dict(kept.sizes) == {"a": 11, "b": 11}
        assert set(kept) == {"loss", "accuracy"}
