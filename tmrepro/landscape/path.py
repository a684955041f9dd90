"""`tmrepro.Trajectory`: records the path of a user's training, and describes it relative to its end."""

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

from tmrepro.directions.trajectory import follow, places_in
from tmrepro.errors import UsageError
from tmrepro.landscape.adapter import Output
from tmrepro.landscape.arguments import Asked, own_data
from tmrepro.landscape.losses import CROSS_ENTROPY, Loss
from tmrepro.landscape.module import own_model, precision_of, unwrapped
from tmrepro.landscape.planes import ComponentDirections, pca_directions
from tmrepro.landscape.surface import pair_of_directions
from tmrepro.landscape.torch_state import undisturbed
from tmrepro.networks.parameters import layout_of, theta_of
from tmrepro.numerics.inference import gradient_norm, image_losses, outputs
from tmrepro.spec.user_paths import user_path
from tmrepro.store.atomic import storage_error
from tmrepro.store.labels import labelled_path


class Trajectory:
    """The path of a training, recorded point by point.

        path = tmrepro.Trajectory(model)
        path.record()                        # before the first update
        for epoch in range(1, 11):
            train_one_epoch(model)
            path.record()
        ds = path.dataset("cross_entropy", inputs, targets, planes={"random": (1, 2)})
        tmrepro.loss_surface(model, "cross_entropy", inputs, targets, directions=path.directions())

    Each point is a safetensors file, so a long path of a large network needs little memory.

    Args:
        model: the module in training, with parameters as for `loss_surface`. Each `record` reads it; it is never changed.
        folder: the folder for the files; by default a temporary folder, which is removed with this object.
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
        """Record the model's present parameters and buffers.

        Args:
            epoch: the number of the point. By default the first is 0, and each further one is larger by 1.

        Raises:
            UsageError: `epoch` is not larger than the previous one.
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
            after = "of at least 0" if last is None else f"above {last}, the previous one"
            raise UsageError(f"epoch: expected a whole number {after} (got {number!r})")
        # Clones, since safetensors does not accept two names of one tensor (tied weights).
        state = {name: value.detach().cpu().clone().contiguous() for name, value in self._model.state_dict().items()}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            safetensors.torch.save_file(state, self._file(number))
        except OSError as error:
            raise storage_error(self._file(number), error) from error
        self._epochs.append(number)

    def directions(self) -> ComponentDirections:
        """Return the plane of the path's two principal components through the model's present parameters.

        Raises:
            UsageError: there are fewer than three points, or all points lie on one line.
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
        """Describe the path relative to theta*, the model's present parameters.

        Args:
            loss: as for `loss_surface`.
            inputs: as for `loss_surface`. If None, no losses and gradients are computed.
            targets: as for `loss_surface`.
            planes: directions by name, as for `loss_surface` with its default options.
            output: as for `loss_surface`.

        Returns:
            A Dataset over `epoch`. distance is ||theta - theta*||. cosine is that of the angle between two vectors from the
            previous point: the step to this point, and the direction to theta*. pca_1 and pca_2 are coordinates along the
            principal components (nan if there are fewer than two); the attribute explained has their shares of the variance.
            With inputs: loss and gradient_norm, in eval mode, with the buffers of each point. For each plane: PLANE_a,
            PLANE_b and PLANE_distance (from the plane).

        Raises:
            UsageError: nothing is recorded, or an argument is invalid.
        """
        if not self._epochs:
            raise UsageError("no point is recorded: call record() during training")
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
