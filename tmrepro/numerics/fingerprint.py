"""A numerical fingerprint: hashes of fixed computations, which show whether two machines compute the same bits.

The name of a processor is not enough: the libraries below torch choose their instructions, and split their sums among
threads, by their own rules. So the operations of a run are computed from fixed numbers, and hashed. There is one hash per
operation, so a difference shows its source. Inputs are integers over a power of two, which are the same on every machine.
A fingerprint takes a few hundredths of a second, uses no random state and changes nothing.

`tmrepro doctor --json --threads N` prints the fingerprint under `portable` determinism. Those of the locked torch are in
fingerprints.json.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.adam import adam

HASH_DIGITS = 16

Fingerprint = dict[str, str]


def fingerprint(device: torch.device | None = None) -> Fingerprint:
    """Return operation -> hash of its result on `device` (None: the CPU), with the present determinism, threads and instructions.

    The operations of NumPy and of the C library always run on the CPU.
    """
    device = device or torch.device("cpu")
    image, kernel = _numbers(1, 6, 32, 15, 13, device=device), _numbers(2, 48, 32, 3, 3, device=device)
    long = _numbers(3, 100_003, device=device)  # more than torch gives to one thread, not a multiple of a vector
    found: dict[str, Iterable[Tensor] | np.ndarray | np.generic] = {
        "matrix product": [_numbers(4, 193, 257, device=device) @ _numbers(5, 257, 130, device=device)],
        "convolution": _convolution(image, kernel),
        "batch norm": _batch_norm(image),
        "cross entropy": [functional.cross_entropy(_numbers(6, 70, 10, device=device), _classes(70, device=device))],
        "log softmax, float64": [(_numbers(7, 70, 10, device=device) * 9).double().log_softmax(1)],
        "exp": [long.exp()],
        "log": [(long.abs() + 1).log()],
        "sum": [long.sum(), long.double().sum()],
        "Adam": [_adam_step(long, device=device)],
        "NumPy normal": np.random.Generator(np.random.Philox(key=8)).standard_normal(1000, dtype=np.float32),
        "NumPy sum": np.sum(np.square(_array(9, 10_007).astype(np.float64))),
        "NumPy log": np.log10(np.abs(_array(10, 1000).astype(np.float64)) + 1),
        "NumPy matrix product": _array(11, 4, 4).astype(np.float64) @ _array(12, 4, 97).astype(np.float64),
        "C library": np.array([f(x / 64) for x in range(1, 200) for f in (math.exp, math.log, math.log1p, math.cos)]),
    }
    return {name: _hash(values) for name, values in found.items()}


def torch_release() -> str:
    """Return the version of torch without its build: 2.14.1 for 2.14.1+cu130."""
    return torch.__version__.partition("+")[0]


def _array(key: int, *shape: int) -> np.ndarray:
    """Return float32 numbers in [-0.5, 0.5) from the raw stream of Philox, each exact: an integer over 2^24."""
    raw = np.random.Philox(key=key).random_raw(math.prod(shape)) >> np.uint64(40)
    return ((raw.astype(np.float64) - 2**23) / 2**24).astype(np.float32).reshape(shape)


def _numbers(key: int, *shape: int, device: torch.device) -> Tensor:
    return torch.from_numpy(_array(key, *shape)).to(device)


def _classes(n: int, *, device: torch.device) -> Tensor:
    return (torch.arange(n, device=device) * 7) % 10


def _convolution(image: Tensor, kernel: Tensor) -> list[Tensor]:
    """Return a convolution and its gradients."""
    image, kernel = image.clone().requires_grad_(), kernel.clone().requires_grad_()
    with torch.enable_grad():
        out = functional.conv2d(image, kernel, stride=2, padding=1)
        gradients = torch.autograd.grad(out.square().sum(), [image, kernel])
    return [out.detach(), *gradients]


def _batch_norm(image: Tensor) -> list[Tensor]:
    """Return batch norm as in training, its running statistics, and its gradient."""
    mean, variance = (torch.full((image.shape[1],), value, device=image.device) for value in (0.0, 1.0))
    leaf = image.clone().requires_grad_()
    with torch.enable_grad():
        out = functional.batch_norm(leaf, mean, variance, training=True)
        (gradient,) = torch.autograd.grad((out * image).sum(), leaf)
    return [out.detach(), mean, variance, gradient]


def _adam_step(values: Tensor, *, device: torch.device) -> Tensor:
    """Return the result of two steps of the fused Adam that training uses.

    `torch.optim.Adam` calls the same function. Creating that class loads torch's compiler, which takes two seconds.
    """
    parameter, first, second = values.clone(), torch.zeros_like(values), torch.zeros_like(values)
    steps = torch.zeros((), dtype=torch.float32, device=device)
    for key in (13, 14):
        gradient = _numbers(key, len(values), device=device)
        adam(
            [parameter], [gradient], [first], [second], [], [steps],
            fused=True, amsgrad=False, beta1=0.9, beta2=0.999, lr=0.01, weight_decay=0.0, eps=1e-8, maximize=False,
        )  # fmt: skip
    return parameter


def _hash(values: Iterable[Tensor] | np.ndarray | np.generic) -> str:
    arrays = [np.asarray(values)] if isinstance(values, np.ndarray | np.generic) else [v.cpu().numpy() for v in values]
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()[:HASH_DIGITS]
