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


def test_reader_that_goes_away_changes_no_exit_code(tmp_path):
    # `exec <&-` closes the pipe before anything is written to it, whatever the machine does first.
    found = shell(f"tmrepro spec explain {SPEC} --json | {{ exec <&-; }}; echo ${{PIPESTATUS[0]}}", folder=tmp_path)
    assert found.stdout.strip() == "0"
    assert found.stderr == ""


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (f"tmrepro spec explain {SPEC} >&-", 0),
        (f"tmrepro spec hash {SPEC} <&- >&- 2>&-", 0),
        ("tmrepro spec check nothing.yaml 2>&-", 2),
        ("tmrepro spec check nothing.yaml 2>&1 | { exec <&-; }; exit ${PIPESTATUS[0]}", 2),
        ("tmrepro spec check nothing.yaml 2< /dev/null", 2),
    ],
)
def test_closed_streams_change_no_exit_code(tmp_path, line, code):
    found = shell(line, folder=tmp_path)
    assert found.returncode == code
    assert "Traceback" not in found.stderr


def test_text_that_the_terminal_has_no_letters_for_is_escaped(tmp_path):
    found = shell("PYTHONIOENCODING=ascii tmrepro spec check größe.yaml", folder=tmp_path)
    assert found.returncode == 2
    assert found.stderr.startswith(r"gr\xf6\xdfe.yaml:1:1: cannot be read")


def test_terminal_of_no_width_is_not_believed(tmp_path):
    assert "Usage:" in shell("COLUMNS=0 tmrepro --help", folder=tmp_path).stdout


def test_removed_working_folder_is_said_by_every_command(tmp_path):
    for command in ("--help", f"spec check {SPEC}", "stats runs/x", "verify", "doctor", "run quickstart"):
        found = shell(f"mkdir gone; cd gone; rmdir ../gone; tmrepro {command}", folder=tmp_path)
        assert found.returncode == 2, command
        assert "error: the working directory no longer exists" in found.stderr
        assert "Traceback" not in found.stderr


def test_home_folder_is_expanded_where_the_shell_does_not(tmp_path):
    (tmp_path / "home").mkdir()
    shutil.copy(SPEC, tmp_path / "home" / "mine.yaml")
    home = f"HOME={tmp_path / 'home'}"
    assert shell(f"{home} tmrepro spec check '~/mine.yaml'", folder=tmp_path).returncode == 0
    assert "no run is there" in shell(f"{home} tmrepro verify '~'", folder=tmp_path).stdout
    found = shell("tmrepro run quickstart --out=~nobody-of-that-name/x", folder=tmp_path)
    assert found.returncode == 2
    assert "no known home folder" in found.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"home"}


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
