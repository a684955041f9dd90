"""What must be set before torch loads, that it is refused when it is too late, and that the bits are then the same."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tmrepro
from tmrepro.numerics.determinism import Determinism, environment, reached

PACKAGE = Path(tmrepro.__file__).parent
VARIABLES = {
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_CBWR",
    "OMP_NUM_THREADS",
    "OMP_DYNAMIC",
    "MKL_NUM_THREADS",
    "MKL_DYNAMIC",
    "GOMP_SPINCOUNT",
    "CUBLAS_WORKSPACE_CONFIG",
}

TRAINING = """
import hashlib, json, os, sys
from tmrepro.numerics.determinism import Determinism, apply, prepare
level = Determinism("portable", 2)
prepare(level)
import torch
apply(level)
from tmrepro.networks import build_model
from tmrepro.networks.parameters import theta_of
from tmrepro.records import Signature
from tmrepro.spec import CnnModel, DnnModel, StopSpec, TrainingSpec
from tmrepro.training import Examples, train
generator = torch.Generator().manual_seed(0)
labels = torch.randint(10, (300,), generator=generator)
inputs = torch.randn(10, 3, 16, 16, generator=generator)[labels] + torch.randn(300, 3, 16, 16, generator=generator)
pictures = Signature.of_pictures(classes=10, size=16)
data = Examples(inputs[:200], labels[:200], inputs[200:], labels[200:], 10)
spec = TrainingSpec(batch_size=64, max_epochs=3, warmup_steps=2, stop=StopSpec(at="never"))
found = {"cores": len(os.sched_getaffinity(0)), "threads": torch.get_num_threads()}
for model in (DnnModel(name="d", kind="dnn", widths=(512, 64, 10)), CnnModel(name="c", kind="cnn", channels=(64, 32, 10))):
    trained = train(spec, build=lambda seed: build_model(model, signature=pictures, seed=seed), examples=data, seed=0)
    rows = [(e.train_loss, e.validation_loss) for e in trained.history.epochs]
    digest = hashlib.sha256(theta_of(trained.model).tobytes() + json.dumps(rows).encode())
    found[model.name] = digest.hexdigest()
print(json.dumps(found))
"""


def python(code: str, *, before: list[str] | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter that inherits no setting of determinism."""
    inherited = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return subprocess.run(
        [*(before or []), sys.executable, "-c", code],
        env=inherited | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_portable_fixes_instruction_sets_and_threads() -> None:
    assert environment(Determinism("portable", 3)) == {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_CBWR": "COMPATIBLE",
        "OMP_NUM_THREADS": "3",
        "OMP_DYNAMIC": "FALSE",
        "MKL_NUM_THREADS": "3",
        "MKL_DYNAMIC": "FALSE",
        "GOMP_SPINCOUNT": "5000",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "NUMBA_CPU_NAME": "x86-64-v3",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+popcnt,+sse3,+sse4.1,+sse4.2,+ssse3",
    }


@pytest.mark.parametrize("level", ["machine", "fast"])
def test_other_levels_use_all_instruction_sets(level: Any) -> None:
    wanted = environment(Determinism(level, 2))
    assert not wanted.keys() & {"ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "NUMBA_CPU_NAME"}
    assert wanted["OMP_NUM_THREADS"] == "2"


def test_cuda_cannot_promise_portable() -> None:
    assert reached(Determinism("portable", 2), device="cpu") == "portable"
    assert reached(Determinism("portable", 2), device="cuda") == "machine"
    assert reached(Determinism("machine", 2), device="cuda") == "machine"
    assert reached(Determinism("fast", 2), device="cuda") == "fast"


def test_preparing_loads_no_torch_and_sets_the_environment() -> None:
    done = python(
        "import sys, os\n"
        "from tmrepro.numerics.determinism import Determinism, prepare\n"
        "prepare(Determinism('portable', 5))\n"
        "assert 'torch' not in sys.modules\n"
        "print(os.environ['ATEN_CPU_CAPABILITY'], os.environ['OMP_NUM_THREADS'])\n"
    )
    assert (done.returncode, done.stdout) == (0, "avx2 5\n"), done.stderr


# A stand-in is enough to say that torch is loaded, and spares seconds.
LOADED_BEFORE = """
import sys, types
sys.modules["torch"] = types.ModuleType("torch")
from tmrepro.numerics.determinism import Determinism, prepare
from tmrepro.errors import UsageError
try:
    prepare(Determinism("LEVEL", 2))
except UsageError as error:
    print(error)
"""


def test_portable_is_refused_once_torch_is_loaded_with_other_settings() -> None:
    done = python(LOADED_BEFORE.replace("LEVEL", "portable"), MKL_CBWR="COMPATIBLE", ONEDNN_MAX_CPU_ISA="AVX512")
    assert "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2," in done.stdout, done.stderr
    assert "MKL_CBWR" not in done.stdout
    assert "compute.determinism" in done.stdout


def test_torch_may_be_loaded_before_with_the_same_settings_or_for_another_level() -> None:
    settings = environment(Determinism("portable", 2))
    done = python(LOADED_BEFORE.replace("LEVEL", "portable"), **settings)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    done = python(LOADED_BEFORE.replace("LEVEL", "machine"))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


APPLIED = """
import json, torch
from tmrepro.numerics.determinism import Determinism, apply
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
found = {}
for level, threads in (("machine", 1), ("fast", 2), ("portable", 3)):
    apply(Determinism(level, threads))
    found[level] = [torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic]
found["tf32 or autotuning"] = (
    torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32 or torch.backends.cudnn.benchmark
)
print(json.dumps(found))
"""


def test_applying_makes_a_loaded_torch_obey() -> None:
    done = python(APPLIED)
    assert json.loads(done.stdout) == {
        "machine": [1, True, True],
        "fast": [2, False, False],
        "portable": [3, True, True],
        "tf32 or autotuning": False,
    }, done.stderr


@pytest.mark.slow
def test_one_visible_core_gives_the_same_bits_as_all() -> None:
    """Sums are split by threads, of which there must be as many however many cores there are."""
    taskset = shutil.which("taskset")
    if taskset is None:
        pytest.skip("needs taskset, of util-linux")
    core = str(min(os.sched_getaffinity(0)))
    runs = [python(TRAINING), python(TRAINING, before=[taskset, "-c", core])]
    assert [done.returncode for done in runs] == [0, 0], runs[1].stderr
    all_cores, one_core = (json.loads(done.stdout) for done in runs)
    assert one_core.pop("cores") == 1
    all_cores.pop("cores")
    assert one_core == all_cores
    assert one_core["threads"] == 2


def training_path() -> list[Path]:
    rooms = ("networks", "training", "directions", "surface")
    return [PACKAGE / "numerics" / "inference.py", *(path for room in rooms for path in (PACKAGE / room).rglob("*.py"))]


def roots_of_tensors(source: str) -> list[str]:
    """Every use of a square root that is not math's or numpy's."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and node.attr in {"sqrt", "sqrt_", "rsqrt", "rsqrt_"}
        and ast.unparse(node.value) not in {"math", "np"}
    ]


def test_no_torch_square_root_on_the_training_path() -> None:
    """Its bits differ between vendors of processors. The finder must find, or this test says nothing."""
    assert roots_of_tensors("torch.sqrt(x); x.sqrt(); y.rsqrt_()") == ["torch.sqrt", "x.sqrt", "y.rsqrt_"]
    assert len(training_path()) > 15
    assert {path.name: roots_of_tensors(path.read_text(encoding="utf-8")) for path in training_path()} == {
        path.name: [] for path in training_path()
    }
