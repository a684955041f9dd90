"""What the Dockerfile says twice agrees with where it says it first; a lock loses CUDA and nothing else."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tmrepro.numerics.determinism import FOREIGN, NUMPY_ENVIRONMENT, Determinism, environment

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements.lock", "requirements-dev.lock"]

pytestmark = pytest.mark.skipif(not (ROOT / "Dockerfile").exists(), reason="needs a checkout")


@pytest.fixture(scope="module")
def cpu_lock():
    spec = importlib.util.spec_from_file_location("cpu_lock", ROOT / "docker" / "cpu_lock.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings_of_the_image() -> dict[str, str]:
    """The variables that the stage `final` sets."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    final = text[text.index("AS final") : text.index("AS test")]
    words = [word for line in re.findall(r"^ENV (.*)$", final, re.MULTILINE) for word in shlex.split(line)]
    return dict(word.split("=", 1) for word in words)


def names(lock: str) -> set[str]:
    return {canonicalize_name(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.MULTILINE)}


def test_the_image_sets_what_tmrepro_would_set_but_threads():
    expected = {**environment(Determinism("portable", 2)), **NUMPY_ENVIRONMENT}
    del expected["OMP_NUM_THREADS"], expected["MKL_NUM_THREADS"]
    assert {name: value for name, value in settings_of_the_image().items() if FOREIGN.match(name)} == expected


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_without_cuda_keeps_all_that_torch_needs_elsewhere(cpu_lock, name):
    rest, torch = cpu_lock.split((ROOT / name).read_text(encoding="utf-8"))
    needs = [Requirement(line) for line in metadata.requires("torch") or [] if "extra ==" not in line]
    for_linux = {canonicalize_name(need.name) for need in needs if need.marker and "Linux" in str(need.marker)}
    everywhere = {canonicalize_name(need.name) for need in needs} - for_linux
    assert len(for_linux) > 3, "torch's CUDA packages were not recognised"
    assert everywhere <= names(rest)
    assert not for_linux & names(rest)
    assert names(torch) == {"torch", "torchvision"}
    assert "sha256" not in torch


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_without_cuda_has_the_lines_of_the_lock(cpu_lock, name):
    lock = (ROOT / name).read_text(encoding="utf-8")
    rest, _ = cpu_lock.split(lock)
    blocks = re.findall(r"^\S.*\n(?:\s.*\n)*", lock, re.MULTILINE)
    kept = [block for block in blocks if block in rest]
    assert "".join(kept) == rest
    gone = names(lock) - names(rest)
    assert all(re.match("torch|nvidia|cuda|triton", package) for package in gone)


def test_a_lock_without_torch_is_refused(cpu_lock):
    with pytest.raises(ValueError, match="torch and torchvision"):
        cpu_lock.split("numpy==2.0 \\\n    --hash=sha256:00\n")


def test_the_tests_that_run_in_the_image_are_there():
    named = re.search(r"^ +(tests/\S.*)'", (ROOT / "docker" / "test").read_text(encoding="utf-8"), re.MULTILINE).group(
        1
    )
    paths = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {named}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert len(paths.stdout.splitlines()) > 8
    assert [path for path in paths.stdout.splitlines() if not (ROOT / path).exists()] == []
