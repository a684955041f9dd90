"""What a command does with settings that came before it: it puts its own in their place, or starts again under them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tmrepro.numerics.determinism import (
    NUMPY_ENVIRONMENT,
    PORTABLE_ENVIRONMENT,
    REPLACED,
    Determinism,
    environment,
    settled,
)

# Says at each start of Python what it started with; then what each test has put below it.
DIARY = """
import json, os, sys
with open(os.environ["DIARY"], "a") as diary:
    diary.write(json.dumps({"environment": dict(os.environ), "options": sys.orig_argv[1:]}) + chr(10))
"""
COMMAND = "import sys; sys.argv[0] = 'tmrepro'; from tmrepro.cli import main; main()"


@pytest.fixture
def starts(tmp_path):
    """Runs `tmrepro --version` and gives what Python was started with each time, and what the command said."""

    def run(site: str = "", *, options: tuple[str, ...] = (), **variables: str):
        (tmp_path / "sitecustomize.py").write_text(DIARY + site, encoding="utf-8")
        inherited = {name: value for name, value in os.environ.items() if name == "PATH"}
        paths = {"PYTHONPATH": str(tmp_path), "DIARY": str(tmp_path / "diary")}
        done = subprocess.run(
            [sys.executable, *options, "-c", COMMAND, "--version"],
            env=inherited | paths | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("tmrepro ")
        return [json.loads(line) for line in Path(paths["DIARY"]).read_text(encoding="utf-8").splitlines()]

    return run


def test_a_command_starts_once_where_nothing_came_before_it(starts):
    assert len(starts(OMP_THREAD_LIMIT="1", MKL_NUM_THREADS="8")) == 1


@pytest.mark.parametrize(
    "variables",
    [
        {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA"},
        {"PYTHONOPTIMIZE": "1"},
        {"LD_PRELOAD": "/nowhere/libiomp5.so"},
    ],
)
def test_what_is_read_before_python_starts_makes_it_start_again_without(starts, variables):
    first, second = starts(OMP_SCHEDULE="static", **variables)
    assert first["environment"].items() >= variables.items()
    assert not {"GLIBC_TUNABLES", "PYTHONOPTIMIZE", "OMP_SCHEDULE"} & second["environment"].keys()
    assert not second["environment"].get("LD_PRELOAD")
    assert set(variables) <= set(second["environment"][REPLACED].split())


def test_other_libraries_may_be_preloaded(starts):
    """They are a user's business, unless they do arithmetic or threads."""
    assert len(starts(LD_PRELOAD="/nowhere/libcompress.so:/nowhere/libfaketime.so")) == 1


def test_numpy_loaded_too_early_is_loaded_again_with_its_settings(starts):
    first, second = starts("import numpy\n")
    assert not NUMPY_ENVIRONMENT.keys() & first["environment"].keys()
    assert second["environment"].items() >= NUMPY_ENVIRONMENT.items()


def test_interpreter_options_are_kept_and_the_current_folder_is_no_module_path(starts):
    _, second = starts("import numpy\n", options=("-X", "dev", "-B"))
    assert second["options"][:4] == ["-X", "dev", "-B", "-P"]
    assert second["options"][-1] == "--version"


def test_settled_leaves_nothing_of_the_callers_but_what_is_none_of_ours():
    wanted = environment(Determinism("portable", 2))
    given = {
        "OMP_THREAD_LIMIT": "1",
        "ONEDNN_CPU_ISA_HINTS": "PREFER_YMM",
        "NVIDIA_TF32_OVERRIDE": "1",
        "ZARR_X": "1",
        "NUMBA_OPT": "0",
    }
    kept = {"HOME": "/home/me", "MKLROOT": "/opt", "COMPOSE": "1", "XOMP_X": "1", "NUMBA_CACHE_DIR": "/cache"}
    assert settled(given | kept, wanted) == kept | wanted | NUMPY_ENVIRONMENT
    assert not PORTABLE_ENVIRONMENT.keys() & settled(wanted, environment(Determinism("machine", 2))).keys()


def test_a_program_of_ones_own_is_told_of_a_harmful_setting():
    """A program cannot start again: it is told what to start without. `tmrepro.run` then computes in a process of its own."""
    program = (
        "import sys, types; sys.modules['torch'] = types.ModuleType('torch')\n"
        "from tmrepro.numerics.determinism import Determinism, prepare\n"
        "from tmrepro.errors import UsageError\n"
        "try:\n    prepare(Determinism('portable', 2))\nexcept UsageError as error:\n    print(error)\n"
    )
    settings = environment(Determinism("portable", 2)) | {"PATH": os.environ["PATH"]}

    def said(**variables: str) -> str:
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=settings | variables, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout

    assert said() == ""
    assert "start Python with no OMP_THREAD_LIMIT, or set compute.determinism to machine" in said(OMP_THREAD_LIMIT="1")
