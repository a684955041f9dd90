"""The examples of docs/curvature.md run as they stand."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "curvature.md"


def test_the_pages_own_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    code = [line for line in lines if (line.startswith("    ") and not line.startswith("    $")) or not line]
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(textwrap.dedent("\n".join(code)), str(PAGE), "exec"), names)  # noqa: S102 - our own page
    assert names["line"].loss.shape == (5,)
    assert names["bent"].converged.all()
    assert 0.5 < names["path"].explained.sum() <= 1
    assert names["surface"].loss.shape == (5, 5)
