"""The kernels of fused.cu against what `gpu_kernels` says of them: on a GPU where there is one, and as threads of the CPU.

Without a GPU, a C++ compiler makes of the kernels what they are but for their instructions (emulated_gpu.h), and NVRTC,
which comes with torch for CUDA, shows that a GPU's compiler takes them.
"""

from __future__ import annotations

import ctypes
import importlib.util
import itertools
import shutil
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import cpp_extension

from tests.surface import kernels_in_torch
from tmrepro.surface.gpu import gpu_kernels
from tmrepro.surface.gpu.fused_layers import FusedLayer, fuse_network, places_first, round_tf32
from tmrepro.surface.trace import trace_network

HERE = Path(__file__).parent
SIZES = ("T", "C", "P", "O", "Q", "N", "C2", "P2", "adds", "rectifies")
COMPILER = shutil.which("g++")
LAYERS = {
    gpu_kernels.layer_name(outputs, tf32=tf32, two=two): f"layer_{outputs}_{int(tf32)}_{int(two)}"
    for outputs, tf32, two in itertools.product((32, 64, 128), (False, True), (False, True))
}
NAMES = LAYERS | {"largest": "largest_"}

# Outputs that fill no tile and more than one; kernels that meet the padding, leave places without a tap, or are one product.
CASES = [
    (3, 10, {"kernel_size": 3, "stride": 2, "padding": 1}),
    (12, 33, {"kernel_size": (3, 2), "padding": (1, 0)}),
    (20, 130, {"kernel_size": 1}),
    (7, 64, {"kernel_size": (3, 2), "padding": 2, "dilation": 2}),
    (2, 5, {"kernel_size": 1, "padding": 1}),
]

# A convolution of 5 channels and one of 1 x 1 of 18, which are added; tiles of all sizes.
TWO_CASES = [
    (130, {"kernel_size": 3, "stride": 2, "padding": 1}, 2),
    (20, {"kernel_size": 1}, 1),
    (64, {"kernel_size": 1, "stride": 3, "padding": 2}, 2),
]


def layers(before: int, after: int, options: dict[str, Any], *, tf32: bool, device: str) -> tuple[FusedLayer, Tensor]:
    """A layer with random weights, and 256 images for it."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(before, after, **options), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))
    x = torch.randn(256, before, 3, 4, generator=generator)
    model(x[:2])
    fused = fuse_network(trace_network(model.to(device), x[:2].to(device)), x[:2].to(device), tf32=tf32)
    assert not isinstance(fused, str)
    layer = fused.folds[0].layer
    layer.weights.copy_(torch.randn(layer.weights.shape, generator=generator))
    layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator))
    if tf32:
        round_tf32(layer.matrix)
    values = places_first(x.to(device))
    if tf32:
        round_tf32(values)
    return layer, values


def check(case: tuple[int, int, dict[str, Any]], *, tf32: bool, device: str) -> None:
    before, after, options = case
    layer, values = layers(before, after, options, tf32=tf32, device=device)
    if layer._is_product:
        values = values.flatten(1).unsqueeze(1)
    arguments: dict[str, Any] = {"taps": layer._taps, "counts": layer._counts, "tf32": tf32}
    addend = torch.randn(after, len(layer._counts), values.shape[2], generator=torch.Generator().manual_seed(1)).to(
        device
    )
    addend[0, 0, 3] = torch.nan
    for more, relu in ((None, True), (addend, True), (addend, False)):
        found = gpu_kernels.apply_layer(values, layer.matrix, layer.bias, addend=more, relu=relu, **arguments)
        expected = kernels_in_torch.layer(values, layer.matrix, layer.bias, addend=more, relu=relu, **arguments)
        assert torch.equal(found.isnan(), expected.isnan())
        found, expected = found.nan_to_num(0), expected.nan_to_num(0)
        assert (found - expected).norm() <= (1e-3 if tf32 else 1e-6) * expected.norm()


class Sum(nn.Module):
    def __init__(self, after: int, options: dict[str, Any], stride: int) -> None:
        super().__init__()
        self.before, self.last = nn.Conv2d(5, 18, 1), nn.LazyLinear(4)
        self.one, self.other = nn.Conv2d(5, after, **options), nn.Conv2d(18, after, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.before(x)
        return self.last(torch.relu(self.other(inner) + self.one(x)).flatten(1))


def check_two(case: tuple[int, dict[str, Any], int], *, tf32: bool, device: str) -> None:
    generator = torch.Generator().manual_seed(0)
    model = Sum(*case)
    x = torch.randn(2, 5, 7, 7, generator=generator)
    model(x)
    fused = fuse_network(trace_network(model.to(device), x.to(device)), x.to(device), tf32=tf32)
    assert not isinstance(fused, str)
    (layer,) = (fold.layer for fold in fused.folds if fold.layer.taken is not None)
    matrix = torch.zeros(layer.matrix.shape)
    matrix[:, : case[0]] = torch.randn(len(matrix), case[0], generator=generator)
    bias = torch.randn(case[0], generator=generator)
    values, second = (torch.randn(C, 49, 256, generator=generator) for C in (5, 18))
    if layer._is_product:
        values, second = (some.flatten(1).unsqueeze(1) for some in (values, second))
    if tf32:
        for some in (matrix, values, second):
            round_tf32(some)
    matrix, bias, values, second = (some.to(device) for some in (matrix, bias, values, second))
    arguments: dict[str, Any] = {"taps": layer._taps, "counts": layer._counts, "tf32": tf32, "relu": True}
    found = gpu_kernels.apply_layer(values, matrix, bias, second=second, **arguments)
    expected = kernels_in_torch.layer(values, matrix, bias, second=second, **arguments)
    assert (found - expected).norm() <= (1e-3 if tf32 else 1e-6) * expected.norm()
    with pytest.raises(ValueError, match="not both"):
        gpu_kernels.apply_layer(values, matrix, bias, addend=found, second=second, **arguments)


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """fused.cu, with a function for each kernel."""
    if COMPILER is None:
        pytest.skip("needs g++")
    source = (Path(gpu_kernels.__file__).parent / "fused.cu").read_text(encoding="utf-8")
    sizes = ", ".join(f"int {name}" for name in SIZES)
    functions = [
        f"""
        extern "C" bool {function}(
            int blocks, int shared, float* out, float* x, float* weight, float* bias, float* more,
            int2* taps, int* counts, {sizes}) {{
            return launch(blocks, shared, [=] {{
                {kernel}(out, x, weight, bias, more, taps, counts, {", ".join(SIZES)});
            }});
        }}"""
        for kernel, function in LAYERS.items()
    ]
    functions.append("""
        extern "C" bool largest_(
            int blocks, int shared, float* out, float* x, int2* taps, int* counts, int T, int C, int P, int Q, int N) {
            return launch(blocks, shared, [=] { largest(out, x, taps, counts, T, C, P, Q, N); });
        }""")
    folder = tmp_path_factory.mktemp("emulated")
    (folder / "kernels.cpp").write_text("\n".join(['#include "emulated_gpu.h"', source, *functions]), encoding="utf-8")
    command = [
        COMPILER,
        "-std=c++20",
        "-O1",
        "-w",
        "-shared",
        "-fPIC",
        "-pthread",
        f"-I{HERE}",
        "kernels.cpp",
        "-o",
        "kernels.so",
    ]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "kernels.so"))


@pytest.fixture
def as_threads(emulated: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    """`gpu_kernels` launches what was emulated."""

    def kernel(name: str, shared: int, _device: torch.device) -> Callable[..., None]:
        function = emulated[NAMES[name]]
        function.restype = ctypes.c_bool

        def run(
            grid: tuple[int, int, int], block: tuple[int, int, int], arguments: list[Any], *, shared_mem: int
        ) -> None:
            assert (grid[1:], block, shared_mem) == ((1, 1), (256, 1, 1), shared)
            for value in arguments:
                assert isinstance(value, int) or value.is_contiguous()
            pointers = [value if isinstance(value, int) else ctypes.c_void_p(value.data_ptr()) for value in arguments]
            assert function(grid[0], shared, *pointers), "memory that isn't aligned, or isn't the kernel's"

        return run

    monkeypatch.setattr(gpu_kernels, "_kernel", kernel)
    monkeypatch.setattr(torch.cuda, "device", lambda _device: nullcontext())


@pytest.mark.usefixtures("as_threads")
@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_layer_as_threads(case: tuple[int, int, dict[str, Any]], tf32: bool) -> None:
    check(case, tf32=tf32, device="cpu")


@pytest.mark.usefixtures("as_threads")
@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("case", TWO_CASES)
def test_a_layer_of_two_inputs_as_threads(case: tuple[int, dict[str, Any], int], tf32: bool) -> None:
    check_two(case, tf32=tf32, device="cpu")


def pooling(device: str) -> tuple[Any, Tensor, Tensor]:
    """Max pooling, what goes into it, and what torch makes of that."""
    x = torch.randn(256, 5, 9, 7, generator=torch.Generator().manual_seed(0)).to(device)
    x[3, 2, 4, 4] = torch.nan
    model = nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(5 * 5 * 4, 4)).to(device)
    fused = fuse_network(trace_network(model, x[:2]), x[:2], tf32=False)
    assert not isinstance(fused, str)
    pool = next(module for module in fused.network.modules() if type(module).__name__ == "_Largest")
    return pool, places_first(x), places_first(nn.functional.max_pool2d(x, 3, 2, 1))


@pytest.mark.usefixtures("as_threads")
def test_the_largest_as_threads() -> None:
    pool, values, expected = pooling("cpu")
    assert torch.equal(pool(values).nan_to_num(7), expected.nan_to_num(7))


@pytest.mark.parametrize("capability", ["80", "90", "120"])
def test_a_gpus_compiler_takes_the_kernels(capability: str) -> None:
    found = importlib.util.find_spec("nvidia")
    folders = [Path(folder) for folder in (found.submodule_search_locations or [])] if found else []
    libraries = [path for folder in folders for path in sorted(folder.glob("*/lib/libnvrtc.so.*"))]
    if not libraries:
        pytest.skip("needs NVRTC")
    nvrtc = ctypes.CDLL(str(libraries[0]))
    program = ctypes.c_void_p()
    source = gpu_kernels.source().encode()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"fused.cu", 0, None, None) == 0
    for name in NAMES:
        assert nvrtc.nvrtcAddNameExpression(program, name.encode()) == 0
    options = (ctypes.c_char_p * 1)(f"--gpu-architecture=sm_{capability}".encode())
    failed = nvrtc.nvrtcCompileProgram(program, 1, options)
    log = ctypes.create_string_buffer(100_000)
    nvrtc.nvrtcGetProgramLog(program, log)
    assert not failed, log.value.decode()


def test_kernels_need_no_toolkit_of_cudas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", None)
    with pytest.raises(OSError, match="CUDA_HOME"):
        cpp_extension.include_paths("cuda")
    with gpu_kernels._without_a_toolkit():
        assert all("cuda" not in Path(path).parts for path in cpp_extension.include_paths("cuda"))
    assert cpp_extension.CUDA_HOME is None


def gpu() -> str:
    if not torch.cuda.is_available() or (why := gpu_kernels.why_unsupported(torch.device("cuda"))) is not None:
        pytest.skip(f"needs a GPU: {why}" if torch.cuda.is_available() else "needs a GPU")
    return "cuda"


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_layer_on_a_gpu(case: tuple[int, int, dict[str, Any]], tf32: bool) -> None:
    check(case, tf32=tf32, device=gpu())


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("case", TWO_CASES)
def test_a_layer_of_two_inputs_on_a_gpu(case: tuple[int, dict[str, Any], int], tf32: bool) -> None:
    check_two(case, tf32=tf32, device=gpu())


def test_the_largest_on_a_gpu() -> None:
    pool, values, expected = pooling(gpu())
    assert torch.equal(pool(values).nan_to_num(7), expected.nan_to_num(7))
