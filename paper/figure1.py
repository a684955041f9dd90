"""Draw the paper's Figure 1 from the stored surfaces of a reference: `python paper/figure1.py [FOLDER]`, on both scales.

Rows are the networks from the top as in the paper, contours on the left and the surface on the right. The networks were trained
on all 50,000 pictures, and the surface is Algorithm 2 to the letter. Writes figure1.png (linear) and figure1-log.png beside this
file, or into FOLDER. A test draws both again and compares pixels.
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure

from tmrepro.reporting.figures import draw_landscape, render
from tmrepro.reporting.figures.scale import ScaleKind
from tmrepro.runner.drawings import panel_of
from tmrepro.spec import expand_surfaces
from tmrepro.store.minima import read_minimum
from tmrepro.store.specs import read_spec

HERE = Path(__file__).resolve().parent
REFERENCE, SURFACE = HERE / "reference" / "paper-gpu", "paper"
SCALES: dict[str, ScaleKind] = {"figure1.png": "linear", "figure1-log.png": "log"}


def draw(scale: ScaleKind, *, reference: Path = REFERENCE) -> Figure:
    """Figure 1 from the surfaces that `reference` stores."""
    drawn = next(drawn for drawn in expand_surfaces(read_spec(reference)) if drawn.name == SURFACE)
    return draw_landscape(
        [panel_of(reference, SURFACE, read_minimum(reference, model), path=()) for model in drawn.models],
        title="Loss landscapes from the point of Algorithm 1, CIFAR-10's 50,000 pictures",
        scale=scale,
        shared=False,
        directions=drawn.spec.directions.describe(),
        labels=drawn.spec.labels,
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for name, scale in SCALES.items():
        (folder / name).write_bytes(render(draw(scale), "png"))
