"""The console script itself, in processes of its own: exit codes where a terminal, a pipe or a disk plays in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tmrepro

SCRIPT = Path(sys.executable).with_name("tmrepro")
SPEC = Path(__file__).parents[2] / "spec" / "paper.yaml"


def shell(line: str, *, folder: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PATH": f"{SCRIPT.parent}:{os.environ['PATH']}"}
    return subprocess.run(["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(autouse=True)
def _installed():
    if not SCRIPT.exists() or shutil.which("bash") is None:
        pytest.skip("needs the installed console script and bash")


@pytest.mark.parametrize("command", ["tmrepro --version", "tmrepro -V", f"{sys.executable} -m tmrepro -V"])
def test_version(tmp_path, command):
    found = shell(command, folder=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == f"tmrepro {tmrepro.__version__}\n"


def test_paragraphs_of_the_help_fill_the_width(tmp_path):
    text = shell("COLUMNS=80 tmrepro curvature --help", folder=tmp_path).stdout
    paragraph = text.partition("Writes models/NAME/")[2].partition("Examples:")[0].strip().splitlines()
    assert len(paragraph) > 2
    assert all(len(line.strip()) > 50 for line in paragraph[:-1])  # before: a line of a few words after each long one
    assert "  tmrepro curvature runs/quickstart" in text


@pytest.mark.parametrize("command", ["", "run", "spec explain"])
def test_short_help_is_help(tmp_path, command):
    found = shell(f"tmrepro {command} -h", folder=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == shell(f"tmrepro {command} --help", folder=tmp_path).stdout


def test_shell_completes(tmp_path):
    found = shell('eval "$(tmrepro --show-completion bash)"; complete -p tmrepro', folder=tmp_path)
    assert "_tmrepro_completion tmrepro" in found.stdout
    asked = 'COMP_WORDS="tmrepro spec ex" COMP_CWORD=2 _TMREPRO_COMPLETE=complete_bash tmrepro'
    found = shell(asked, folder=tmp_path)
    assert (found.returncode, found.stdout.split(), found.stderr) == (0, ["explain"], "")


def test_narrow_terminal_is_wrapped_by_words_and_loses_none(tmp_path):
    rows = json.loads(shell(f"tmrepro spec explain {SPEC} --json", folder=tmp_path).stdout)
    wide = shell(f"tmrepro spec explain {SPEC}", folder=tmp_path).stdout
    assert [line.split()[0] for line in wide.splitlines()[1:]] == [
        row["path"] for row in rows
    ]  # a row a line in a pipe
    narrow = shell(f"COLUMNS=60 tmrepro spec explain {SPEC}", folder=tmp_path).stdout
    assert max(map(len, narrow.splitlines())) <= 60
    folded = [line.removesuffix(": as training") for line in narrow.splitlines() if line.endswith(": as training")]
    assert folded == [f"models[{index}].training" for index in range(3)]
    words = " ".join(narrow.split())
    for row in rows:
        if not row["path"].startswith(tuple(folded)):
            assert f"{row['path']}: " in words
            assert (row["reason"] or f"paper, {row['paper']}") in words


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
    assert "no run found" in shell(f"{home} tmrepro verify '~'", folder=tmp_path).stdout
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
