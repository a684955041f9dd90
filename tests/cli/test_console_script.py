"""The console script itself, in processes of its own: exit codes where a terminal, a pipe or a disk plays in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(sys.executable).with_name("tmrepro")
SPEC = Path(__file__).parents[2] / "spec" / "paper.yaml"


def shell(line: str, *, folder: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PATH": f"{SCRIPT.parent}:{os.environ['PATH']}"}
    return subprocess.run(["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(autouse=True)
def _installed():
    if not SCRIPT.exists() or shutil.which("bash") is None:
        pytest.skip("needs the installed console script and bash")


def test_version(tmp_path):
    found = shell("tmrepro --version", folder=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("tmrepro ")


@pytest.mark.parametrize("arguments", ["frob", "--frob", "run", "run a b", "run x --workers 0", "spec", ""])
def test_wrong_usage_is_2(tmp_path, arguments):
    found = shell(f"tmrepro {arguments}", folder=tmp_path)
    assert found.returncode == 2
    assert "Traceback" not in found.stderr
    assert "Usage:" in found.stdout + found.stderr


def test_reader_that_goes_away_is_no_traceback(tmp_path):
    # `exec <&-` closes the pipe before anything is written to it, whatever the machine does first.
    found = shell(f"tmrepro spec explain {SPEC} --json | {{ exec <&-; }}; echo ${{PIPESTATUS[0]}}", folder=tmp_path)
    assert found.stdout.strip() == "141"
    assert found.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_said(tmp_path):
    found = shell(f"tmrepro spec hash {SPEC} > /dev/full", folder=tmp_path)
    assert found.returncode == 4
    assert found.stderr == "error: output cannot be written: No space left on device\n"


@pytest.mark.parametrize("name", ["spec/quickstart.yaml", "quickstart.yaml", "quickstart"])
def test_shipped_specs_are_found_anywhere(tmp_path, name):
    assert shell(f"tmrepro spec check {name}", folder=tmp_path).returncode == 0
    expected = shell(f"tmrepro spec hash {SPEC.with_name('quickstart.yaml')}", folder=tmp_path).stdout
    assert shell(f"tmrepro spec hash {name}", folder=tmp_path).stdout == expected


def test_a_users_own_file_comes_before_a_shipped_one(tmp_path):
    (tmp_path / "quickstart.yaml").write_text("version: 1\n")
    assert shell("tmrepro spec check quickstart.yaml", folder=tmp_path).returncode == 2


def test_errors_show_a_traceback_only_with_debug(tmp_path):
    assert "Traceback" not in shell("tmrepro spec check nothing.yaml", folder=tmp_path).stderr
    found = shell("tmrepro spec check nothing.yaml --debug", folder=tmp_path)
    assert found.returncode == 2
    assert "Traceback" in found.stderr
