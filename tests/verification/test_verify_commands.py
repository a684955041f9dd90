"""The console script itself: exit codes, and no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tmrepro_command(tmp_path: Path) -> Command:
    """`tmrepro ARGUMENTS` in a folder of its own."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        script = Path(sys.executable).with_name("tmrepro")
        done = subprocess.run([script, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done

    return run


def test_exit_codes(tmrepro_command: Command, whole_run: Path, run: Path, tmp_path: Path) -> None:
    data = bytearray((run / "models/dnn/theta.safetensors").read_bytes())
    data[-1] ^= 1
    (run / "models/dnn/theta.safetensors").write_bytes(data)
    (tmp_path / "wrong.yaml").write_text("version: 1\nname: x\ndata: {name: digits}\nsurface: []\n", encoding="utf-8")
    cases: list[tuple[int, str, tuple[str | Path, ...]]] = [
        (0, "verified: ", (whole_run, "--level", "integrity")),
        (3, "models/dnn/theta.safetensors", (run,)),
        (3, "nothing is there", (tmp_path / "no",)),
        (3, "not a reference", (whole_run, "--level", "integrity", "--reference", tmp_path / "no")),
        (2, "wrong.yaml:4:1", (tmp_path / "wrong.yaml",)),
        (2, "choose one of integrity", (whole_run, "--level", "all")),
        (2, "No such option", (whole_run, "--levels", "all")),
    ]
    for code, said, arguments in cases:
        done = tmrepro_command("verify", *arguments)
        assert (done.returncode, said in done.stdout + done.stderr) == (code, True), (arguments, done)


@pytest.mark.slow
def test_a_run_is_audited_from_the_command_line(
    tmrepro_command: Command, whole_run: Path, whole_reference: Path
) -> None:
    done = tmrepro_command("verify", whole_run, "--reference", whole_reference, "--json", "--seed", "3")
    assert done.returncode == 0, done
    told = json.loads(done.stdout)
    # The run was made in this process, where NumPy chose its instructions before `portable` could: a pixel may differ.
    assert told["grade"] in {"identical", "equal"}
    assert told["reference"] == "reference"
    assert any("--seed 3" in note for note in told["notes"])


@pytest.mark.slow
def test_a_reference_is_built_and_verified_from_the_command_line(
    tmrepro_command: Command, spec_file: Path, home: Path, tmp_path: Path
) -> None:
    built = tmrepro_command(
        "reference", "build", spec_file, "--to", "ref", "--replicates", "2", "--runs", home / "runs", "-q"
    )
    assert built.returncode == 0, built
    assert built.stdout.strip() == "ref"
    bands = json.loads((tmp_path / "ref" / "bands.json").read_text(encoding="utf-8"))
    assert bands["n"] == 2
    other = tmp_path / "other.yaml"
    other.write_text(spec_file.read_text(encoding="utf-8").replace("K: 5", "K: 4"), encoding="utf-8")
    done = tmrepro_command("verify", other, "--reference", "ref")
    assert done.returncode == 1, done
    assert "surfaces[0].grid.K: 4 here, 5 there" in done.stdout
