"""Principal components of the states of a training, which need not fit into memory.

PCA of n states needs their n x n Gram matrix and one more pass over them. Both are computed block by block.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64

from tmrepro.directions.gaussian import sign_of
from tmrepro.errors import UsageError
from tmrepro.networks.parameters import Layout
from tmrepro.numerics.eigen import symmetric_eigen
from tmrepro.spec.limits import WEIGHTS_HEADER_BYTES

BLOCK = 2**20  # numbers of each state in memory at a time, in float64
ON_A_LINE = 1e-12  # share of the first component's variance, below that of rounding in float32

_STORED = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "BF16": "<u2"}  # by safetensors' names; numpy has no bfloat16

State = Path | str | Mapping[str, Any] | np.ndarray | torch.Tensor
"""A safetensors file or a dict by parameter name (buffers are allowed), or a vector [n] in the order of the parameters."""

_Read = Callable[[str, int, int], np.ndarray]


@dataclass(frozen=True)
class Components:
    """The first two principal components of states theta_i - theta* (Li et al. 2018, section 7).

    `components` [2, n] have unit norm, and their entries of largest magnitude are positive. `explained` [2] are shares of the
    states' variance about their mean. `coordinates` [states, 2] are those of theta_i - theta* along the components.
    """

    components: Float32[np.ndarray, "2 n"]
    explained: Float64[np.ndarray, " 2"]
    coordinates: Float64[np.ndarray, "states 2"]


def principal_components(
    states: Sequence[State], *, origin: Float[np.ndarray, " n"], layout: Layout, others: frozenset[str] = frozenset()
) -> Components:
    """Return the PCA of `states`, in the plane through `origin` [n] (theta*). `others`: names of non-parameters (buffers).

    Raises:
        UsageError: there are fewer than three states; or they belong to another network, are not finite, or lie on one line.
    """
    if len(states) < 3:
        raise UsageError(f"states: two components need at least three states, got {len(states)}")
    readers = [open_state(state, layout=layout, others=others, name=f"state {i}") for i, state in enumerate(states)]
    gram = torch.zeros((len(states), len(states)), dtype=torch.float64)
    for _, rows in _blocks(readers, origin, layout):
        gram += rows @ rows.T
    products = gram.numpy()
    if not np.any(products):
        raise UsageError("states: all of them are theta* itself, so they have no components")
    centred = products - products.mean(0) - products.mean(1)[:, None] + products.mean()
    values, vectors = symmetric_eigen((centred + centred.T) / 2)
    if values[1] <= ON_A_LINE * max(values[0], float(np.max(np.abs(products)))):
        raise UsageError("states: all of them lie on one line, or are the same point, so there is no second component")
    lengths = np.sqrt(values[:2])
    shares = vectors[:, :2] - vectors[:, :2].mean(0)
    components = np.empty((2, origin.size), dtype=np.float32)
    for part, rows in _blocks(readers, origin, layout):
        components[:, part] = (torch.from_numpy((shares / lengths).T.copy()) @ rows).numpy()
    signs = np.array([sign_of(component) for component in components])
    components *= signs[:, None].astype(np.float32)
    # Elementwise, because the bits of NumPy's matrix products depend on the processor.
    coordinates = np.stack([np.sum(products * shares[:, k], axis=1) / lengths[k] * signs[k] for k in range(2)], axis=1)
    total = math.fsum(np.maximum(values, 0.0))
    return Components(components, values[:2] / total, coordinates)


def open_state(state: Any, *, layout: Layout, others: frozenset[str], name: str) -> _Read:
    """Return a function that reads numbers `begin` to `end` of a parameter of `state`, in C order.

    Raises:
        UsageError: `state` is invalid, or belongs to another network. Messages call it `name`.
    """
    match state:
        case str() | Path():
            return _open_file(Path(state), layout=layout, others=others, name=f"{name} ({state})")
        case Mapping():
            shapes = {key: tuple(value.shape) for key, value in state.items() if hasattr(value, "shape")}
            _check_names(shapes, layout=layout, others=others, name=name)
            flat = {part.name: _array(state[part.name]) for part in layout}
            return lambda key, begin, end: flat[key][begin:end]
        case _ if hasattr(state, "shape"):
            vector, offset, begins = _array(state), 0, dict[str, int]()
            for part in layout:
                begins[part.name], offset = offset, offset + part.size
            if tuple(state.shape) != (offset,):
                raise UsageError(f"{name}: expected a vector of {offset} numbers, got shape {list(state.shape)}")
            return lambda key, begin, end: vector[begins[key] + begin : begins[key] + end]
        case _:
            raise UsageError(
                f"{name}: expected a state dict, a safetensors file or a vector of parameters, got a {type(state).__name__}"
            )


def read_state(read: _Read, *, layout: Layout, name: str) -> Float[np.ndarray, " n"]:
    """Return all parameters of an opened state as one vector: float64 if any of them is, else float32.

    Raises:
        UsageError: a value is not finite.
    """
    vector = np.concatenate([read(part.name, 0, part.size) for part in layout])
    vector = vector if vector.dtype == np.float64 else vector.astype(np.float32)
    if not np.all(np.isfinite(vector)):
        raise UsageError(f"{name}: has values that are not finite")
    return vector


def _blocks(
    readers: Sequence[_Read], origin: np.ndarray, layout: Layout
) -> Iterator[tuple[slice, Float64[torch.Tensor, "states block"]]]:
    """Yield all states minus `origin`, in float64, block by block. A block belongs to one parameter."""
    offset, size = 0, max(1, BLOCK // len(readers))
    for part in layout:
        for begin in range(0, part.size, size):
            end = min(begin + size, part.size)
            place = slice(offset + begin, offset + end)
            rows = np.stack([read(part.name, begin, end) for read in readers]).astype(np.float64)
            if not np.all(np.isfinite(rows)):
                worst = int(np.argmin(np.isfinite(rows).all(1)))
                raise UsageError(f"state {worst}: {part.name}: has values that are not finite")
            rows -= origin[place]
            yield place, torch.from_numpy(rows)
        offset += part.size


def _open_file(path: Path, *, layout: Layout, others: frozenset[str], name: str) -> _Read:
    try:
        with path.open("rb") as file:
            length = min(int.from_bytes(file.read(8), "little"), WEIGHTS_HEADER_BYTES)
            header = {key: entry for key, entry in json.loads(file.read(length)).items() if key != "__metadata__"}
        shapes = {key: tuple(int(size) for size in entry["shape"]) for key, entry in header.items()}
        begins = {key: 8 + length + int(entry["data_offsets"][0]) for key, entry in header.items()}
        types = {key: str(entry["dtype"]) for key, entry in header.items()}
    except OSError as error:
        raise UsageError(f"{name}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise UsageError(f"{name}: expected a safetensors file, found another one") from error
    _check_names(shapes, layout=layout, others=others, name=name)
    for part in layout:
        if types[part.name] not in _STORED:
            raise UsageError(
                f"{name}: {part.name}: expected float32, float64, float16 or bfloat16, found {types[part.name]}"
            )

    def read(key: str, begin: int, end: int) -> np.ndarray:
        dtype = np.dtype(_STORED[types[key]])
        found = np.fromfile(path, dtype=dtype, count=end - begin, offset=begins[key] + dtype.itemsize * begin)
        if found.size != end - begin:
            raise UsageError(f"{name}: {key}: ends too early")
        # bfloat16 is the upper half of a float32.
        return (found.astype("<u4") << 16).view("<f4") if types[key] == "BF16" else found

    return read


def _check_names(shapes: Mapping[str, tuple[int, ...]], *, layout: Layout, others: frozenset[str], name: str) -> None:
    """Raise UsageError unless the state has these parameters in their shapes, and no unknown names."""
    for part in layout:
        if part.name not in shapes:
            raise UsageError(f"{name}: of another network: it has no parameter {part.name!r}")
        if shapes[part.name] != part.shape:
            found = list(shapes[part.name])
            raise UsageError(f"{name}: of another network: {part.name} has shape {found}, expected {list(part.shape)}")
    if unknown := sorted(set(shapes) - {part.name for part in layout} - others):
        raise UsageError(f"{name}: of another network: the model has no {unknown[0]!r}")


def _array(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy(force=True)
    flat: np.ndarray = np.asarray(value).reshape(-1)
    return flat
