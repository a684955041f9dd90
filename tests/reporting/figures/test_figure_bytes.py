"""The same picture gives the same bytes, whatever process, hash seed, backend, matplotlibrc and time of day."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl

from tests.reporting.figures.panels import make_panel
from tmrepro.reporting.figures import draw_landscape, draw_training, save_figure
from tmrepro.reporting.figures.style import FAMILY, isolated_settings

LOOK = {
    "title": "Loss",
    "scale": "linear",
    "shared": False,
    "directions": "l2-normalised directions",
    "labels": "relabelled",
}

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from tmrepro.reporting.figures import Panel, draw_landscape, draw_training, save_figure
from tmrepro.records import Direction, Epoch, History, Surface, SurfaceFacts

a, b = np.arange(7.0), np.arange(5.0)
loss = 0.1 + np.sin(a[:, None]) ** 2 + 0.3 * b[None, :] ** 2
loss[2, 2] = np.nan
facts = SurfaceFacts(Direction(1, "", 1.0), Direction(2, "", 1.0), 0.0, 20.0, 64, "relabelled")
panel = Panel("dnn", "GM", Surface(loss, loss, a, b), facts, (0, 0))
history = History(tuple(Epoch(n, 1 / n, 1 - 1 / n, 2 / n, 0.5, 0.01, 1.0) for n in (1, 2, 3)))
folder = Path(sys.argv[1])
words = {"directions": "l2-normalised directions", "labels": "relabelled"}
landscape = draw_landscape([panel], title="Loss", scale="log", shared=True, **words)
for name, figure in {"landscape": landscape, "training": draw_training({"dnn": history}, minima={})}.items():
    save_figure(figure, folder / name, Path.write_bytes)
loaded = {name for name in ("torch", "matplotlib.pyplot", "tkinter") if name in sys.modules}
assert not loaded, loaded
"""

HOSTILE_SETTINGS = """
font.family: serif
font.size: 21
axes.grid: True
savefig.dpi: 37
savefig.bbox: tight
figure.facecolor: pink
figure.autolayout: True
path.simplify: False
pdf.fonttype: 3
pdf.compression: 0
text.usetex: True
text.hinting: none
image.cmap: jet
axes.unicode_minus: False
contour.corner_mask: False
lines.linewidth: 9
"""


def render_elsewhere(folder: Path, **environment: str) -> dict[str, bytes]:
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(folder)],
        env=os.environ | environment,
        check=True,
        timeout=120,
    )
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_bytes_are_the_same_in_another_process_with_other_settings(tmp_path):
    settings = tmp_path / "matplotlibrc"
    settings.write_text(HOSTILE_SETTINGS)
    plain = render_elsewhere(tmp_path / "plain", PYTHONHASHSEED="0", TZ="UTC")
    hostile = render_elsewhere(
        tmp_path / "hostile",
        PYTHONHASHSEED="12345",
        MPLBACKEND="svg",
        MATPLOTLIBRC=str(settings),
        SOURCE_DATE_EPOCH="1000000000",
        TZ="Asia/Tokyo",
    )
    assert sorted(plain) == ["landscape.pdf", "landscape.png", "training.pdf", "training.png"]
    assert [name for name in plain if plain[name] != hostile[name]] == []


def test_bytes_are_the_same_when_drawn_again_and_saved_twice():
    written: list[bytes] = []
    for _ in range(2):
        figure = draw_landscape([make_panel()], **LOOK)
        for _ in range(2):
            save_figure(figure, Path("landscape"), lambda _, data: written.append(data))
    pngs, pdfs = written[0::2], written[1::2]
    assert len(set(pngs)) == 1
    assert len(set(pdfs)) == 1


def test_files_tell_nothing_of_time_and_software():
    written: dict[str, bytes] = {}
    save_figure(draw_landscape([make_panel()], **LOOK), Path("x"), lambda path, data: written.update({path.name: data}))
    assert b"CreationDate" not in written["x.pdf"]
    assert b"atplotlib" not in written["x.pdf"]
    assert b"atplotlib" not in written["x.png"]


def test_paths_keep_the_dots_of_a_name(history):
    paths = save_figure(draw_training({"dnn": history}, minima={}), Path("figures/paper.d1"), lambda *_: None)
    assert [path.as_posix() for path in paths] == ["figures/paper.d1.png", "figures/paper.d1.pdf"]


def test_only_the_bundled_font_is_used():
    from matplotlib.font_manager import FontProperties, findfont

    draw_landscape([make_panel()], **LOOK)
    bundled = Path(mpl.get_data_path()).resolve()
    with isolated_settings():
        for weight in ("normal", "bold"):
            found = Path(findfont(FontProperties(weight=weight)))
            assert found.resolve().is_relative_to(bundled)
            assert found.name.startswith("DejaVuSans")


def test_settings_of_the_reader_are_put_back():
    with mpl.rc_context({"font.size": 17.0}):
        draw_landscape([make_panel()], **LOOK)
        assert mpl.rcParams["font.size"] == 17.0
        assert mpl.rcParams["font.family"] != [FAMILY]
