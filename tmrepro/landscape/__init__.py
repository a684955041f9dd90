"""`tmrepro.loss_surface` and `tmrepro.loss_line`: the surface engine for a user's own module, loss and data.

arguments.py    checks the arguments: model, loss, data, directions and grid
torch_state.py  restores torch's settings and the random generators of the caller
cache.py        a folder that keeps and continues a surface
points.py       the points of a surface or a line
planes.py       directions from principal components of a training, or to other minima
surface.py      computes a surface
line.py         computes a line
path.py         records the path of a training
losses.py       a user's loss, per example or per batch; batches.py: data in batches; totals.py: losses with a count of terms
module.py       a user's network; adapter.py: several inputs; vectors.py, tensors.py: its parameters
curvature/      products with the Hessian, Lanczos, trace, density
"""

from __future__ import annotations

from tmrepro.landscape.line import loss_line
from tmrepro.landscape.path import Trajectory
from tmrepro.landscape.planes import directions_toward, pca_directions
from tmrepro.landscape.surface import loss_surface

__all__ = ["Trajectory", "directions_toward", "loss_line", "loss_surface", "pca_directions"]
