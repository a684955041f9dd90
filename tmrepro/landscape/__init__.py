"""`tmrepro.loss_surface`: the surface engine for anyone's own module, loss and data in memory.

question.py     what is asked: model, loss, data, directions and grid, checked, in words where they don't fit
undisturbed.py  torch and the random generators as the caller has them, however the computation ends
kept.py         a folder in which a surface is kept, and continued
surface.py      the answer
"""

from __future__ import annotations

from tmrepro.landscape.surface import loss_surface

__all__ = ["loss_surface"]
