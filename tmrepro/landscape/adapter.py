"""Adapts a network with several inputs or outputs for evaluators, which use one input tensor and one output tensor."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tmrepro.errors import UsageError
from tmrepro.landscape.batches import Given
from tmrepro.landscape.module import kind_of
from tmrepro.spec.messages import did_you_mean

Output = str | int | Callable[[Any], Tensor] | None


@dataclass(frozen=True)
class Selection:
    """The part of a network's output to use: a key or attribute, an index, or the result of a function; None for all of it."""

    output: Output

    def __call__(self, found: Any) -> Any:
        """Return the chosen part of `found`.

        Raises:
            UsageError: the part does not exist, or the function fails.
        """
        match self.output:
            case None:
                return found
            case str() as key:
                if isinstance(found, Mapping) and key in found:
                    return found[key]
                if not isinstance(found, Mapping) and hasattr(found, key):
                    return getattr(found, key)
                raise UsageError(f"output: {words_of(found)}, no {key!r}{did_you_mean(key, names_in(found))}")
            case int() as index if not isinstance(index, bool):
                if isinstance(found, tuple | list) and -len(found) <= index < len(found):
                    return found[index]
                raise UsageError(f"output: {words_of(found)}, nothing at index {index}")
            case function:
                try:
                    return function(found)  # type: ignore[operator]
                except UsageError:
                    raise
                except Exception as error:
                    raise UsageError(f"output: fails on {kind_of(found)}: {type(error).__name__}: {error}") from error


class Adapted(nn.Module):
    """`model` with its arguments as buffers. It is called with the positions [n] of the inputs to use.

    So batches, orders and parts of the data are all tensors of positions. Without `given` it is called with its own argument.
    """

    def __init__(self, model: nn.Module, selection: Selection, given: Given | None) -> None:
        super().__init__()
        self.model = model
        self.selection = selection
        self.given = given
        self.training = model.training
        for index, column in enumerate(given.columns if given is not None else ()):
            self.register_buffer(f"input_{index}", column, persistent=False)

    def forward(self, x: Any) -> Any:
        """Return the chosen output for the inputs at positions `x`, or for `x` itself: a tensor, or a proxy in a trace."""
        if self.given is None:
            return self.selection(self.model(x))
        columns = [self.get_buffer(f"input_{index}").index_select(0, x) for index in range(len(self.given.columns))]
        if self.given.names is None:
            return self.selection(self.model(*columns))
        return self.selection(self.model(**dict(zip(self.given.names, columns, strict=True))))

    def __deepcopy__(self, memo: dict[int, Any]) -> Adapted:
        """Return a copy of the model that shares the data, which never change."""
        twin = Adapted(copy.deepcopy(self.model, memo), self.selection, self.given)
        for name, column in self._buffers.items():
            twin._buffers[name] = column  # the same data, converted if this model was
        return twin


def adapted(model: nn.Module, given: Given, output: Output) -> tuple[nn.Module, Tensor]:
    """Return the network and its argument for evaluators: `model` and its own argument, if it needs no adapter.

    Raises:
        UsageError: `output` is not a key, an index or a function.
    """
    if not (output is None or isinstance(output, str | int) or callable(output)) or isinstance(output, bool):
        raise UsageError(f"output: expected a key, an index or a function, got {output!r}")
    selection = Selection(output)
    if given.names is None and len(given.columns) == 1:
        return (model if output is None else Adapted(model, selection, None)), given.columns[0]
    return Adapted(model, selection, given), torch.arange(len(given.targets), device=given.targets.device)


def names_in(found: object) -> tuple[str, ...]:
    """Return the keys of a network's output; empty if it has none."""
    if isinstance(found, Mapping):
        return tuple(map(str, found))
    return tuple(field.name for field in fields(found)) if is_dataclass(found) else ()


def words_of(found: object) -> str:
    """Describe the output of a network, for the beginning of a sentence."""
    if names := names_in(found):
        return f"the model gives {kind_of(found)} with {', '.join(names)}"
    if isinstance(found, tuple | list):
        return f"the model gives {kind_of(found)} of {len(found)}"
    return f"the model gives {kind_of(found)}"
