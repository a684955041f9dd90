"""The numerical fingerprint: the same wherever the bits are, another where they aren't, and known for the locked torch."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tmrepro.api.doctor import known_fingerprints
from tmrepro.numerics.determinism import NUMPY_ENVIRONMENT, Determinism, environment
from tmrepro.numerics.fingerprint import _array, fingerprint, torch_release

ROOT = Path(__file__).parents[2]
HAS_AVX512 = "avx512f" in Path("/proc/cpuinfo").read_text(encoding="utf-8")

# Which operation tells that a setting is missing.
NEEDED = {
    "ATEN_CPU_CAPABILITY": "log softmax, float64",
    "ONEDNN_MAX_CPU_ISA": "convolution",
    "MKL_CBWR": "matrix product",
    "NPY_DISABLE_CPU_FEATURES": "NumPy log",
}

# torch is loaded with settings of the test's own, past all that tmrepro does about them.
UNPROTECTED = """
import json, os
os.environ.update(json.loads(os.environ["SETTINGS"]))
import torch
from tmrepro.numerics.determinism import Determinism, apply
from tmrepro.numerics.fingerprint import fingerprint
apply(Determinism("portable", 2))
print(json.dumps([fingerprint(), fingerprint()]))
"""


def unprotected(**changes: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """Two fingerprints of one process under the portable environment with `changes`; None: without that variable."""
    settings = environment(Determinism("portable", 2)) | NUMPY_ENVIRONMENT | changes
    given = {name: value for name, value in settings.items() if value is not None}
    inherited = {name: value for name, value in os.environ.items() if name not in settings}
    done = subprocess.run(
        [sys.executable, "-c", UNPROTECTED],
        env=inherited | {"SETTINGS": json.dumps(given)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    first, second = json.loads(done.stdout)
    return first, second


def known() -> dict[str, str]:
    return dict(known_fingerprints()[torch_release()]["2"])


def test_it_repeats_itself_and_leaves_nothing_changed():
    torch.manual_seed(5)
    before = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    first = fingerprint()
    assert fingerprint() == first
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[1:]


def test_every_operation_has_a_hash_of_its_own():
    found = fingerprint()
    assert len(set(found.values())) == len(found) >= 12
    assert all(re.fullmatch(r"[0-9a-f]{16}", value) for value in found.values())


def test_gradients_may_be_off_around_it():
    expected = fingerprint()
    with torch.no_grad():
        assert fingerprint() == expected


def test_its_numbers_are_exact_everywhere():
    """Whole numbers over 2^24 in float32: nothing is rounded on the way to the operations."""
    numbers = _array(3, 100_003).astype(np.float64)
    assert np.array_equal(numbers * 2**24, np.rint(numbers * 2**24))
    assert -0.5 <= numbers.min() < -0.499
    assert 0.499 < numbers.max() < 0.5
    assert len(set(_array(3, 1000).tolist()) & set(_array(4, 1000).tolist())) < 5


def test_another_number_of_threads_is_another_fingerprint():
    """Sums are split among threads."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        two = fingerprint()
        torch.set_num_threads(1)
        assert fingerprint()["sum"] != two["sum"]
    finally:
        torch.set_num_threads(threads)


def test_the_locked_torch_is_known():
    """With a new lock: for 1, 2, 4 and 8 threads, `tmrepro doctor --json --threads N` prints what to put in."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    version = re.search(r"^torch==([\d.]+)", lock, re.MULTILINE)
    assert version is not None
    assert set(known_fingerprints()[version[1]]) == {"1", "2", "4", "8"}


def test_the_known_fingerprint_is_that_of_the_portable_environment():
    assert unprotected() == (known(), known())


@pytest.mark.skipif(not HAS_AVX512, reason="needs AVX-512: without it the processor itself keeps to AVX2")
def test_the_settings_are_needed():
    """Without them, this processor computes otherwise, and the fingerprint tells in what."""
    found, expected = unprotected(**dict.fromkeys(NEEDED)), known()
    assert {name for name in expected if found[0][name] != expected[name]} >= set(NEEDED.values())


@pytest.mark.soak
@pytest.mark.skipif(not HAS_AVX512, reason="needs AVX-512: without it the processor itself keeps to AVX2")
@pytest.mark.parametrize("variable", NEEDED)
def test_each_setting_is_needed(variable):
    assert unprotected(**{variable: None})[0][NEEDED[variable]] != known()[NEEDED[variable]]


def test_fewer_threads_than_torch_was_told_of_make_nonsense():
    """Why a caller's OMP_THREAD_LIMIT must not be heeded. (`convolution` isn't even the same twice, most of the time.)"""
    first, _ = unprotected(OMP_THREAD_LIMIT="1")
    assert first["convolution"] != known()["convolution"]
