"""Curvature of the loss at theta*: eigenpairs, trace and spectral density of the Hessian, with their errors.

hessian.py    products of the Hessian with vectors; the other modules use only these
check.py      checks that these products are second derivatives of the loss
basis.py      an orthonormal basis of a few long vectors
lanczos.py    the largest eigenvalues, and the spectrum of a random vector
spectrum.py   all results for a network, inputs and targets
asked.py      `tmrepro.curvature_of` and `tmrepro.hessian_directions`, for a user's own module, loss and data
"""

from __future__ import annotations

from tmrepro.landscape.curvature.spectrum import Settings, measure, remeasure, top_eigenvectors, trace_sample

__all__ = ["Settings", "measure", "remeasure", "top_eigenvectors", "trace_sample"]
