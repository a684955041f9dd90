"""Checks curvature.json: compares it with the surfaces (level statistics) and with the weights (level audit)."""

from __future__ import annotations

import zlib

import numpy as np
import torch

from tmrepro.landscape.curvature import remeasure, trace_sample
from tmrepro.runner.curvature import settings_of, slices_of
from tmrepro.runner.curvature_tasks import inputs_and_targets
from tmrepro.runner.view import RunView
from tmrepro.spec import TrainedModel
from tmrepro.store.curvature import CurvatureDocument, read_curvature, read_vectors
from tmrepro.store.run_files import CURVATURE
from tmrepro.verification.verdict import Check

# As a share of the Frobenius norm, which is recomputed, because a stored `scale` may be forged. Rounding of another platform.
WITHIN = 1e-4
FARTHEST = 4.0  # limit of the largest absolute eigenvalue, in Frobenius norms as estimated from one vector


def has_curvature(view: RunView, model: str) -> bool:
    """Return whether the run has the curvature of `model`."""
    return (view.folder / "models" / model / CURVATURE).exists()


def check_slices(view: RunView) -> list[Check]:
    """Check that the slices of curvature.json are the second differences of the surfaces at theta*.

    Raises:
        ArtefactError: a file for this check is damaged.
    """
    checks = []
    for model in view.models:
        if has_curvature(view, model):
            document = read_curvature(view.folder, model)
            expected = slices_of(view.folder, view.spec, model, mean=document.mean_eigenvalue)
            subject = f"models/{model}/{CURVATURE}"
            wrong = sorted(
                name for name in {*expected, *document.slices} if expected.get(name) != document.slices.get(name)
            )
            if wrong:
                checks.append(
                    Check("statistics", subject, "different", f"slices: {wrong[0]}: differs from the stored surface")
                )
            else:
                said = f"{len(expected)} slices follow from the surfaces"
                checks.append(Check("statistics", subject, "identical", said))
    return checks


def check_curvature(view: RunView, model: TrainedModel, *, seed: int, device: torch.device, exact: bool) -> Check:
    """Check that theta* gives the stored eigenvalues, residuals, and one sample of the trace, drawn by `seed`.

    Only the form of the density is checked: recomputing it needs as many products as computing it.

    Raises:
        ArtefactError: a file for this check is missing or damaged.
    """
    subject = f"models/{model.name}/{CURVATURE}"
    document = read_curvature(view.folder, model.name)
    network = view.model(model.name).to(device)
    if document.parameters != sum(value.numel() for value in network.parameters()):
        return Check("audit", subject, "different", f"parameters: stored {document.parameters}, the network has others")
    if document.images > len(view.labels(model.name)):
        return Check("audit", subject, "different", f"images: stored {document.images}, the run has fewer")
    vectors = torch.from_numpy(read_vectors(view.folder, document))
    inputs, targets = inputs_and_targets(view, model, images=document.images, device=device)
    settings = settings_of(document)
    stream = np.random.Generator(np.random.Philox(key=seed + (zlib.crc32(subject.encode()) << 64)))
    probe = int(stream.integers(len(document.trace_samples)))
    sample, norm = trace_sample(network, inputs, targets, probe, settings=settings)
    stored = document.trace_samples[probe]
    found = remeasure(network, inputs, targets, vectors, settings=settings)
    wrong = _first_wrong_pair(document, found, vectors, odd=WITHIN * norm)
    if wrong is None and not abs(sample - stored) <= WITHIN * (abs(stored) + norm):
        wrong = f"trace_samples[{probe}]: stored {stored:.6g}, theta* gives {sample:.6g}"
    if wrong is None and not document.scale <= FARTHEST * norm:
        wrong = f"scale: stored {document.scale:.6g}, where the Frobenius norm is about {norm:.6g}"
    if wrong:
        return Check("audit", subject, "different", wrong)
    pairs = (*found[0].tolist(), *found[1].tolist())
    same = pairs == (*document.eigenvalues, *document.residuals) and sample == stored
    said = f"{len(vectors)} eigenpairs and sample {probe} of the trace"
    if same:
        return Check("audit", subject, "identical", f"recomputed from theta*, bitwise identical: {said}")
    bits = "; on this platform they should be bitwise identical" if exact else ""
    return Check("audit", subject, "equal", f"recomputed from theta*, equal within rounding: {said}{bits}")


def _first_wrong_pair(
    document: CurvatureDocument, found: tuple[np.ndarray, np.ndarray], vectors: torch.Tensor, *, odd: float
) -> str | None:
    """Describe the first pair whose error exceeds `odd`."""
    values, residuals = found
    for index, (stored, value) in enumerate(zip(document.eigenvalues, values.tolist(), strict=True)):
        if not abs(value - stored) <= odd:
            return f"eigenvalues[{index}]: stored {stored:.6g}, its vector gives {value:.6g}"
    for index, (stored, residual) in enumerate(zip(document.residuals, residuals.tolist(), strict=True)):
        if not abs(residual - stored) <= odd:
            return f"residuals[{index}]: stored {stored:.3g}, its vector leaves {residual:.3g}"
    wide = vectors.double()
    square = (wide[:, None] * wide[None]).sum(2)
    if float((square - torch.eye(len(vectors), dtype=torch.float64)).abs().max()) > 1e-3:
        return "the stored vectors are not orthonormal"
    return None
