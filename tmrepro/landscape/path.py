"""`tmrepro.Trajectory`: the path that anyone's own training takes, recorded point by point and seen from where it ends."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import xarray as xr
from torch import nn

from tmrepro.errors import UsageError
from tmrepro.inference import gradient_norm, image_losses, outputs
from tmrepro.labels import labelled_path
from tmrepro.landscape.adapter import Output
from tmrepro.landscape.losses import CROSS_ENTROPY, Loss
from tmrepro.landscape.module import own_model, precision_of, unwrapped
from tmrepro.landscape.planes import ComponentDirections, pca_directions
from tmrepro.landscape.question import Asked, own_data
from tmrepro.landscape.surface import pair_of_directions
from tmrepro.landscape.undisturbed import undisturbed
from tmrepro.parameters import layout_of, theta_of
from tmrepro.paths import user_path
from tmrepro.store.atomic import storage_error
from tmrepro.trajectory import follow, places_in


class Trajectory:
    """The points that a training goes through.

        path = tmrepro.Trajectory(model)
        path.record()                        # before the first update
        for epoch in range(1, 11):
            train_one_epoch(model)
            path.record()
        ds = path.dataset("cross_entropy", inputs, targets, planes={"random": (1, 2)})
        tmrepro.loss_surface(model, "cross_entropy", inputs, targets, directions=path.directions())

    Each point is a safetensors file, so that a long path of a large network fits; at most a few are in memory at once.

    Args:
        model: the module that is trained; with parameters as for `loss_surface`. It is read at each `record` and never changed.
        folder: where the files go; by default a temporary folder, which is gone with this object.
    """

    def __init__(self, model: nn.Module, folder: Path | str | None = None) -> None:
        self._model = unwrapped(model)
        self._temporary = None if folder is not None else tempfile.TemporaryDirectory(prefix="tmrepro-path-")
        self._folder = Path(self._temporary.name) if self._temporary is not None else user_path(str(folder))
        self._epochs: list[int] = []

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs recorded so far."""
        return tuple(self._epochs)

    @property
    def states(self) -> tuple[Path, ...]:
        """The files of the points, each a state dict."""
        return tuple(self._file(epoch) for epoch in self._epochs)

    def record(self, epoch: int | None = None) -> None:
        """Keep the model's parameters and buffers as they are now.

        Args:
            epoch: the number of the point; by default 0 for the first and one more for each other.

        Raises:
            UsageError: not above the one before.
            StorageError: the file cannot be written.
        """
        last = self._epochs[-1] if self._epochs else None
        number = epoch if epoch is not None else 0 if last is None else last + 1
        if (
            not isinstance(number, int)
            or isinstance(number, bool)
            or number < 0
            or (last is not None and number <= last)
        ):
            after = "of at least 0" if last is None else f"above {last}, the one before"
            raise UsageError(f"epoch: expected a whole number {after} (got {number!r})")
        # Clones, since two names of one tensor (tied weights) are more than safetensors takes.
        state = {name: value.detach().cpu().clone().contiguous() for name, value in self._model.state_dict().items()}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            safetensors.torch.save_file(state, self._file(number))
        except OSError as error:
            raise storage_error(self._file(number), error) from error
        self._epochs.append(number)

    def directions(self) -> ComponentDirections:
        """The plane of the path's two principal components through the model's parameters as they are now.

        Raises:
            UsageError: fewer than three points, or points on one line.
        """
        return pca_directions(self._model, self.states)

    def dataset(
        self,
        loss: Loss = CROSS_ENTROPY,
        inputs: Any = None,
        targets: Any = None,
        *,
        planes: Mapping[str, Any] | None = None,
        output: Output = None,
    ) -> xr.Dataset:
        """The path as seen from theta*, the model's parameters as they are now.

        Args:
            loss: as for `loss_surface`.
            inputs: as for `loss_surface`; None: no losses and gradients are computed.
            targets: as for `loss_surface`.
            planes: by name, directions as `loss_surface` takes them with its other arguments left as they are.
            output: as for `loss_surface`.

        Returns:
            Along `epoch`: distance (||theta - theta*||); cosine, of the angle between the step from the point before and the
            direction from there to theta*; pca_1 and pca_2, coordinates along the principal components (nan where the path has
            no two), whose shares of the variance are attribute explained; with inputs, loss and gradient_norm in eval mode,
            with the buffers of each point; for each plane PLANE_a, PLANE_b and PLANE_distance (from the plane).

        Raises:
            UsageError: nothing is recorded, or an argument is invalid.
        """
        if not self._epochs:
            raise UsageError("nothing is recorded yet: call record() while the model trains")
        device = next((value.device for value in self._model.parameters()), torch.device("cpu"))
        with undisturbed(device=device, threads=None):
            copied = own_model(self._model)
            theta_star, layout = theta_of(copied), layout_of(copied)
            data = (
                None
                if inputs is None
                else own_data(
                    copied,
                    Asked(loss, inputs, targets, output),
                    given=self._model,
                    precision=precision_of(copied, None),
                    whole=False,
                )
            )
            pairs = {name: pair_of_directions(given, model=copied) for name, given in (planes or {}).items()}
            try:
                found = self.directions()
            except UsageError:
                found = None

            def theta(index: int) -> np.ndarray:
                state = safetensors.torch.load_file(self.states[index])
                parts = [state[part.name].reshape(-1).double().numpy() for part in layout]
                return np.concatenate(parts).astype(theta_star.dtype, copy=False)

            def measure(index: int) -> tuple[float | None, float | None]:
                if data is None:
                    return None, None
                copied.load_state_dict(safetensors.torch.load_file(self.states[index]))
                mean = image_losses(outputs(data.model, data.inputs), data.targets).mean()
                return float(mean), gradient_norm(data.model, data.inputs, targets=data.targets)

            points = follow(
                self._epochs,
                theta,
                theta_star=theta_star,
                components=None if found is None else found.coordinates,
                measure=measure,
            )
            columns: dict[str, list[float | None]] = {
                "distance": [point.distance for point in points],
                "cosine": [point.cosine for point in points],
                "pca_1": [point.components[0] if point.components else None for point in points],
                "pca_2": [point.components[1] if point.components else None for point in points],
            }
            if data is not None:
                columns["loss"] = [point.loss for point in points]
                columns["gradient_norm"] = [point.gradient_norm for point in points]
            for name, pair in pairs.items():
                places = places_in(pair, theta, len(points), theta_star=theta_star)
                columns[f"{name}_a"] = [place.a for place in places]
                columns[f"{name}_b"] = [place.b for place in places]
                columns[f"{name}_distance"] = [place.distance for place in places]
        seen = xr.Dataset(
            {
                name: ("epoch", [math.nan if value is None else value for value in values])
                for name, values in columns.items()
            },
            coords={"epoch": list(self._epochs)},
            attrs={} if found is None else {"explained": found.explained.tolist()},
        )
        return labelled_path(seen) if data is None else labelled_path(seen, words=data.kind.words, unit=data.kind.unit)

    def _file(self, epoch: int) -> Path:
        return self._folder / f"{epoch}.safetensors"
