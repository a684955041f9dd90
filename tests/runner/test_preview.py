"""`tmrepro run --preview` shows a surface early, says that it is a preview, and changes no byte of the finished folder."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib.image
import numpy as np

import tmrepro
from tests.support.recorder import Recorder
from tests.support.runs import untimed


def test_previews_come_early_and_change_nothing(spec, tmp_path, finished):
    """Nine chunks of K = 5: the home chunk, then the corners, then the rest; so three looks at each surface."""
    pictures: dict[str, list[bytes]] = {}

    class Watching(Recorder):
        def note(self, message):
            super().note(message)
            if message.startswith("preview of "):
                path = Path(message.rpartition(": ")[2])
                pictures.setdefault(path.name, []).append(path.read_bytes())

    recorder = Watching()
    run = tmrepro.run(spec, out=tmp_path / "run", preview=True, reporter=recorder).run
    assert untimed(run) == untimed(finished)
    assert not (run / ".work").exists()
    assert {name: len(found) for name, found in pictures.items()} == {
        "one.dnn.png": 3,
        "one.cnn.png": 3,
        "one.norm.png": 3,
    }
    told = [note for note in recorder.notes if note.startswith("preview of one/cnn")]
    assert [note.partition(": ")[0] for note in told] == [
        "preview of one/cnn (4 of 25 points, hatched",
        "preview of one/cnn (9 of 25 points, hatched",
        "preview of one/cnn (complete)",
    ]
    first, second, last = (matplotlib.image.imread(io.BytesIO(data)) for data in pictures["one.cnn.png"])
    assert first.shape == last.shape
    assert np.any(first != second)
    assert np.any(second != last)


def test_without_the_option_there_is_no_preview(spec, tmp_path):
    looked: list[bool] = []

    class Watching(Recorder):
        def chunk(self, surface, model, *, points_done, points):
            super().chunk(surface, model, points_done=points_done, points=points)
            looked.append((tmp_path / "run/.work/preview").exists())

    tmrepro.run(spec, out=tmp_path / "run", reporter=Watching())
    assert looked
    assert not any(looked)
