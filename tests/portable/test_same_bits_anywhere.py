"""`portable` keeps its promise: the same bytes with one visible core, on another processor, from whatever environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.portable.interpreters import train_channels_last
from tests.support.runs import untimed
from tmrepro.numerics.determinism import PORTABLE_ENVIRONMENT

pytestmark = pytest.mark.slow

# Settings that a user, a cluster or an image may have, each able to change a bit or to break a run if it were heeded.
CALLERS = {
    "OMP_NUM_THREADS": "1",
    "OMP_THREAD_LIMIT": "1",
    "OMP_DYNAMIC": "true",
    "OMP_SCHEDULE": "dynamic,1",
    "MKL_NUM_THREADS": "8",
    "MKL_CBWR": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx512",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "DNNL_MAX_CPU_ISA": "SSE41",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "OPENBLAS_CORETYPE": "Prescott",
    "OPENBLAS_NUM_THREADS": "2",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-AVX2",
    "NUMBA_DISABLE_JIT": "1",
    "NUMBA_CPU_NAME": "generic",
    "ZARR_DEFAULT_ZARR_FORMAT": "2",
    "PYTHONHASHSEED": "7",
    "PYTHONOPTIMIZE": "1",
    "LANG": "de_DE.UTF-8",
    "LC_ALL": "C",
    "TZ": "Asia/Tokyo",
    "SOURCE_DATE_EPOCH": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "MPLBACKEND": "svg",
    "COLUMNS": "20",
}

ALL_NETWORKS = """
version: 1
name: all
data: {name: digits, train: 24, validation: 10, size: 32}
models:
  - {name: dnn, kind: dnn}
  - {name: cnn, kind: cnn}
  - {name: resnet50, kind: resnet50}
training: {batch_size: 12, max_epochs: 2, warmup_steps: 2, reseeds: 0, stop: {at: never}}
surfaces:
  - {name: paper, grid: {K: 2}, samples: 8}
  - {name: filter, directions: {normalization: filter}, grid: {K: 3, origin: center, step: 0.1}, samples: 8}
"""


def test_one_visible_core_gives_the_same_manifest(small_spec, run_command, one_core, all_cores):
    other = run_command(small_spec, before=one_core)
    assert json.loads((other / "provenance.json").read_text())["platform"]["cores_visible"] == 1
    assert untimed(other) == untimed(all_cores)


def test_the_emulated_processor_is_another_one(emulated):
    """Else the next test would say nothing on a machine with AVX-512."""
    asked = "from numpy._core._multiarray_umath import __cpu_features__ as has; print(has['AVX2'], has['AVX512F'])"
    done = subprocess.run([*emulated, "-c", asked], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout == "True False\n"


def test_no_setting_of_the_caller_changes_the_manifest(small_spec, run_command, all_cores):
    assert untimed(run_command(small_spec, variables=CALLERS)) == untimed(all_cores)


def test_torch_loaded_too_early_is_loaded_again_with_its_settings(small_spec, all_cores, tmp_path):
    """A stand-in for torch is loaded at Python's start, as long as that has other settings than the spec asks for."""
    diary, program = tmp_path / "diary", "from tmrepro.cli import main; main()"
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys, types\n"
        "early = os.environ.get('ATEN_CPU_CAPABILITY') != 'avx2'\n"
        f"open({str(diary)!r}, 'a').write(f'{{early}} ')\n"
        "if early:\n    sys.modules['torch'] = types.ModuleType('torch')\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "run", str(small_spec), "--out", str(all_cores)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert "nothing to do" in done.stdout
    # First without NumPy's settings, then without torch's, then with all of them.
    assert diary.read_text(encoding="utf-8").split() == ["True", "True", "False"]


def test_an_emulated_haswell_gives_the_same_manifest(all_cores, emulated, start_emulated):  # noqa: ARG001
    assert untimed(start_emulated.finish()) == untimed(all_cores)


def test_a_training_channels_last_has_the_same_bits_on_one_visible_core(trained_channels_last, one_core):
    assert trained_channels_last.startswith("channels_last ")
    assert train_channels_last(one_core) == trained_channels_last


def test_a_training_channels_last_has_the_same_bits_on_an_emulated_haswell(
    trained_channels_last,
    emulated,  # noqa: ARG001
    start_emulated,
):
    said = (start_emulated.finish().parent / "said").read_text(encoding="utf-8")
    assert said.endswith(trained_channels_last)


@pytest.mark.soak
@pytest.mark.parametrize("change", ["compute: {threads: 1}", "compute: {determinism: machine}"])
def test_the_comparison_can_fail(change, small_spec, run_command, all_cores, tmp_path):
    """Other threads, and other instruction sets, do give other bits of this spec: the tests above can see a difference."""
    if "machine" in change and "avx512f" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("needs AVX-512, which 'machine' uses and 'portable' does not")
    spec = tmp_path / "changed.yaml"
    spec.write_text(f"{small_spec.read_text(encoding='utf-8')}{change}\n", encoding="utf-8")
    theta = "models/cnn/theta.safetensors"
    assert untimed(run_command(spec))[theta] != untimed(all_cores)[theta]


@pytest.mark.soak
def test_libraries_loaded_before_the_command_do_not_change_the_manifest(small_spec, run_command, all_cores, tmp_path):
    """torch and NumPy, loaded at Python's start with the machine's own settings: the command starts again."""
    (tmp_path / "sitecustomize.py").write_text("import numpy, torch\n", encoding="utf-8")
    other = run_command(small_spec, variables={"PYTHONPATH": str(tmp_path)})
    facts = json.loads((other / "provenance.json").read_text())["platform"]
    assert facts["determinism"]["environment"].items() >= PORTABLE_ENVIRONMENT.items()
    assert untimed(other) == untimed(all_cores)


@pytest.fixture(scope="session")
def all_networks(tmp_path_factory):
    spec = tmp_path_factory.mktemp("spec") / "all.yaml"
    spec.write_text(ALL_NETWORKS, encoding="utf-8")
    return spec


@pytest.fixture(scope="session")
def all_networks_here(all_networks, run_command):
    return run_command(all_networks)


def test_all_three_networks_give_the_same_manifest_on_one_visible_core(
    all_networks, all_networks_here, run_command, one_core
):
    assert untimed(run_command(all_networks, before=one_core)) == untimed(all_networks_here)


@pytest.mark.soak
def test_all_three_networks_give_the_same_manifest_on_an_emulated_haswell(
    all_networks, all_networks_here, run_command, emulated
):
    assert untimed(run_command(all_networks, before=emulated)) == untimed(all_networks_here)


@pytest.mark.soak
@pytest.mark.parametrize("name", CALLERS)
def test_no_single_setting_of_the_caller_changes_the_manifest(name, small_spec, run_command, all_cores):
    assert untimed(run_command(small_spec, variables={name: CALLERS[name]})) == untimed(all_cores)
