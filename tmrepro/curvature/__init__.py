"""How the loss bends at theta*: eigenpairs, trace and spectral density of its Hessian, each with its error.

hessian.py    products of the Hessian with vectors, which is all that the others ask for
check.py      whether these products are the second derivative of the loss itself
basis.py      an orthonormal basis of a few long vectors
lanczos.py    the largest eigenvalues, and the spectrum as a random vector sees it
spectrum.py   all of it, for a network, inputs and targets
asked.py      `tmrepro.curvature_of` and `tmrepro.hessian_directions`, for anyone's own module, loss and data
"""

from __future__ import annotations

from tmrepro.curvature.spectrum import Settings, measure, remeasure, top_eigenvectors, trace_sample

__all__ = ["Settings", "measure", "remeasure", "top_eigenvectors", "trace_sample"]
