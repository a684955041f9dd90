"""Operators whose bits are known to differ by processor, or by version of Python, stay out of what a run computes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tmrepro

PACKAGE = Path(tmrepro.__file__).parent
ROOMS = ("training", "surface", "networks", "statistics", "data", "directions")
MODULES = ("numerics/inference.py",)

# NumPy's own kernels for these choose instructions by processor, and BLAS its summation order. A root is rounded correctly.
NUMPY_KERNELS = frozenset({
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "logaddexp", "power", "float_power", "cbrt", "hypot",
    "sin", "cos", "tan", "tanh", "arctan2", "dot", "vdot", "inner", "outer", "matmul", "tensordot", "einsum",
    "convolve", "correlate", "linalg", "fft", "cov", "corrcoef", "polyfit",
})  # fmt: skip
# Vector mathematics of MKL under torch: plain Adam differs by vendor for the sake of this root.
TENSOR_METHODS = frozenset({"sqrt", "sqrt_", "rsqrt", "rsqrt_", "cdist", "lgamma", "erfinv"})
TORCH_FUNCTIONS = frozenset({"compile", "linalg", "fft", "jit"})
NUMPY_DRAWS = frozenset(
    {"seed", "rand", "randn", "randint", "random", "normal", "uniform", "permutation", "shuffle", "choice"}
)
TORCH_DRAWS = frozenset({"seed", "manual_seed", "rand", "randn", "randint", "randperm", "normal", "bernoulli"})
OPTIMIZERS = "torch.optim."
# What numba compiles does its products and sums as they stand, unless it is told otherwise.
KERNELS = {"surface/cpu/kernels.py": ["from numba import njit"]}
# Level `fast` alone has it, as tests/surface/test_batched_evaluator.py sees to.
NOT_PORTABLE = {"surface/compiled.py": ["torch.compile"]}
# Seeds the global state for a user's function, and puts it back.
FOR_USERS = {"data/factory.py": ["np.random.seed"]}


def forbidden(source: str) -> list[str]:
    """What in `source` must not be on the portable path, as it stands there."""
    tree = ast.parse(source)
    has_torch = any(
        "torch" in ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)
    )
    return [ast.unparse(node) for node in ast.walk(tree) for _ in _reasons(node, has_torch=has_torch)]


def _reasons(node: ast.AST, *, has_torch: bool) -> Iterator[str]:
    match node:
        case ast.Attribute(value=ast.Name(id="np" | "numpy"), attr=name) if name in NUMPY_KERNELS:
            yield "chooses instructions by processor"
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="np"), attr="random"), attr=name) if (
            name in NUMPY_DRAWS
        ):
            yield "draws from a global state"
        case ast.Attribute(value=ast.Name(id="torch"), attr=name) if (
            name in TORCH_FUNCTIONS | TENSOR_METHODS | TORCH_DRAWS
        ):
            yield "differs by vendor, is compiled here, or draws from a global state"
        case ast.Attribute(value=value, attr=name) if name in TENSOR_METHODS and ast.unparse(value) not in {
            "math",
            "np",
            "torch",
        }:
            yield "differs by vendor"
        case ast.Call(func=function, keywords=words) if _is_optimizer(function):
            if not any(word.arg == "fused" and ast.unparse(word.value) == "True" for word in words):
                yield "takes its roots from MKL"
        case ast.BinOp(op=ast.MatMult()) if not has_torch:
            yield "is NumPy's BLAS"
        case ast.Call(func=ast.Name(id="sum"), args=[ast.GeneratorExp(elt=ast.Call(func=ast.Name(id="float"))), *_]):
            yield "sums floats otherwise from Python 3.12 on: math.fsum does not"
        case ast.ImportFrom(module=str(module)) | ast.Import(names=[ast.alias(name=module)]):
            if module.split(".")[0] in {"numba", "numexpr", "jax"} or module.startswith(
                ("scipy.linalg", "scipy.sparse.linalg")
            ):
                yield "compiles for the processor it finds, or is LAPACK"
        case _:
            pass


def _is_optimizer(function: ast.expr) -> bool:
    name = ast.unparse(function)
    return name.startswith(OPTIMIZERS) and "." not in name.removeprefix(OPTIMIZERS) and name != f"{OPTIMIZERS}Optimizer"


def portable_modules() -> list[Path]:
    return [*(PACKAGE / name for name in MODULES), *(path for room in ROOMS for path in (PACKAGE / room).rglob("*.py"))]


@pytest.mark.parametrize(
    "line",
    [
        "np.dot(a, b)",
        "np.linalg.norm(a)",
        "np.log10(a)",
        "a @ b",
        "np.random.normal(3)",
        "torch.sqrt(x)",
        "(x + 1).sqrt()",
        "x.rsqrt_()",
        "torch.compile(model)",
        "torch.randn(3)",
        "torch.manual_seed(1)",
        "torch.optim.Adam(p, lr=1)",
        "torch.optim.SGD(p, 1, fused=False)",
        "sum(float(v) for v in x)",
        "from numba import njit",
        "import scipy.linalg",
    ],
)
def test_each_operator_is_found(line):
    assert forbidden(line)


def test_what_is_the_same_everywhere_is_left_alone():
    assert not forbidden(
        "import torch\nmath.sqrt(2)\nnp.sqrt(a)\nnp.sum(a * b)\na @ b\ntorch.optim.Adam(p, lr=1, fused=True)\n"
        "x: torch.optim.Optimizer\nsum(n for n in counts)\nnp.random.Philox(key=1)\nmath.log1p(x)\nx.log_softmax(1)\n"
    )


def test_no_such_operator_is_on_the_portable_path():
    modules = portable_modules()
    assert len(modules) > 30
    found = {str(path.relative_to(PACKAGE)): forbidden(path.read_text(encoding="utf-8")) for path in modules}
    assert {path: lines for path, lines in found.items() if lines} == KERNELS | NOT_PORTABLE | FOR_USERS


def test_kernels_are_compiled_without_leave_to_reorder():
    from tmrepro.surface.cpu import kernels

    source = Path(kernels.__file__).read_text(encoding="utf-8")
    names = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    assert not NUMPY_KERNELS & names
    assert kernels.HOW["fastmath"] is False
    assert "parallel" not in kernels.HOW
