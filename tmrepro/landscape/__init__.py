"""`tmrepro.loss_surface` and `tmrepro.loss_line`: the surface engine for anyone's own module, loss and data in memory.

question.py     what is asked: model, loss, data, directions and grid, checked, in words where they don't fit
undisturbed.py  torch and the random generators as the caller has them, however the computation ends
kept.py         a folder in which a surface is kept, and continued
points.py       where the points of a surface or a line lie
planes.py       directions that lead somewhere: principal components of a training, other minima
surface.py      the answer, for a plane
line.py         the answer, for a line
path.py         the path of a training
"""

from __future__ import annotations

from tmrepro.landscape.line import loss_line
from tmrepro.landscape.path import Trajectory
from tmrepro.landscape.planes import directions_toward, pca_directions
from tmrepro.landscape.surface import loss_surface

__all__ = ["Trajectory", "directions_toward", "loss_line", "loss_surface", "pca_directions"]
