"""Any sequence of writing, deleting, damaging and swapping, against a plain dict of what should be there; zarr agrees."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tmrepro.errors import DamagedError
from tmrepro.records import Direction, Grid, SurfaceFacts
from tmrepro.store.surfaces import chunk_slices, consolidate, create_surface, open_surface, read_surface

K, CHUNK = 3, 2
SLICES = {index: (i, j) for index, i, j in chunk_slices(K, CHUNK)}
GRID = Grid(a=np.arange(K) - 1.0, b=0.5 * np.arange(K), home=(1, 0), step=1.0)
# The same surface around another theta*: whoever creates it must not find the chunks of the first.
FACTS = {
    norm: SurfaceFacts(Direction(1, "a", 1.0), Direction(2, "b", 1.0), 0.25, norm, 3, "original") for norm in (2.0, 3.0)
}

indices = st.sampled_from(sorted(SLICES))
arrays = st.sampled_from(["loss", "accuracy"])


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.run = self.home / "run"
        # What each chunk file holds, filled up with nan to a whole chunk; a file that is damaged or gone is not there.
        self.files: dict[tuple[str, tuple[int, int]], np.ndarray] = {}
        self.links: set[tuple[str, tuple[int, int]]] = set()
        self.norm = 2.0
        self.metadata: set[str] = {"loss", "accuracy", "a", "b"}
        self.copied: float | None = None  # whose metadata the root holds a copy of
        create_surface(self.run, "paper", "dnn", grid=GRID, chunk=CHUNK, facts=FACTS[2.0])

    def teardown(self) -> None:
        shutil.rmtree(self.home)

    def _path(self, array: str, index: tuple[int, int]) -> Path:
        return self.run / f"surfaces.zarr/paper/dnn/{array}/c/{index[0]}/{index[1]}"

    def _is_whole(self, index: tuple[int, int]) -> bool:
        return "loss" in self.metadata and {("loss", index), ("accuracy", index)} <= self.files.keys()

    @rule(index=indices, value=st.floats())
    def write(self, index, value):
        i, j = SLICES[index]
        block = (value + 100.0 * np.arange(K)[:, None] + np.arange(K))[i, j]
        if "loss" not in self.metadata:
            with pytest.raises(DamagedError):
                open_surface(self.run, "paper", "dnn").write(index, block, -block)
            return
        linked = [array for array in ("loss", "accuracy") if (array, index) in self.links]
        if linked:  # nothing is written through a link; loss is written first
            with pytest.raises(DamagedError, match=f"{linked[0]}/c/.*a symbolic link"):
                open_surface(self.run, "paper", "dnn").write(index, block, -block)
        else:
            open_surface(self.run, "paper", "dnn").write(index, block, -block)
        for array, content in (("loss", block), ("accuracy", -block)):
            if array in linked:
                break
            self.files[array, index] = np.full((CHUNK, CHUNK), np.nan)
            self.files[array, index][: block.shape[0], : block.shape[1]] = content

    @rule(index=indices, array=arrays)
    def delete(self, index, array):
        if self.files.pop((array, index), None) is not None:
            self._path(array, index).unlink()

    @rule(index=indices, array=arrays, position=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
    def damage(self, index, array, position, flip):
        if self.files.pop((array, index), None) is not None:
            data = bytearray(self._path(array, index).read_bytes())
            data[int(position * len(data))] ^= flip
            self._path(array, index).write_bytes(data)

    @rule(index=indices, array=arrays, share=st.floats(0, 1, exclude_max=True), tail=st.sampled_from([b"", b"\0" * 4]))
    def cut(self, index, array, share, tail):
        if self.files.pop((array, index), None) is not None:
            data = self._path(array, index).read_bytes()
            self._path(array, index).write_bytes(data[: int(share * len(data))] + tail)

    @rule(index=indices, array=arrays, tail=st.binary(min_size=1, max_size=9))
    def lengthen(self, index, array, tail):
        if self.files.pop((array, index), None) is not None:
            with self._path(array, index).open("ab") as file:
                file.write(tail)

    @rule(index=indices, array=arrays)
    def replace_by_a_link_to_itself_elsewhere(self, index, array):
        if self.files.pop((array, index), None) is not None:
            path = self._path(array, index)
            path.replace(self.home / "elsewhere")
            path.symlink_to(self.home / "elsewhere")
            self.links.add((array, index))

    @rule(one=indices, other=indices, array=arrays)
    def swap(self, one, other, array):
        """Both are whole and no checksum can tell: what they hold has changed places, and that is what is read."""
        keys = ((array, one), (array, other))
        if one == other or not self.files.keys() >= set(keys):
            return
        paths = [self._path(*key) for key in keys]
        contents = [path.read_bytes() for path in paths]
        for path, content in zip(paths, reversed(contents), strict=True):
            path.write_bytes(content)
        self.files[keys[0]], self.files[keys[1]] = self.files[keys[1]], self.files[keys[0]]

    @rule(array=st.sampled_from(["loss", "accuracy", "a", "b"]), length=st.integers(0, 50))
    def cut_metadata(self, array, length):
        path = self.run / f"surfaces.zarr/paper/dnn/{array}/zarr.json"
        path.write_bytes(path.read_bytes()[:length])
        self.metadata.discard(array)

    @rule(norm=st.sampled_from(sorted(FACTS)))
    def create(self, norm):
        """The same surface whole: its chunks stay. Another one, or one with damaged metadata: they go."""
        if norm != self.norm or len(self.metadata) < 4:
            self.files.clear()
            self.links.clear()
        self.norm, self.metadata = norm, {"loss", "accuracy", "a", "b"}
        create_surface(self.run, "paper", "dnn", grid=GRID, chunk=CHUNK, facts=FACTS[norm])

    @rule()
    def consolidate(self):
        if len(self.metadata) < 4:
            with pytest.raises(DamagedError):
                consolidate(self.run)
            return
        consolidate(self.run)
        self.copied = self.norm

    @invariant()
    def exactly_what_was_written_and_left_alone_is_whole(self):
        if "loss" not in self.metadata:  # nothing is
            with pytest.raises(DamagedError):
                open_surface(self.run, "paper", "dnn")
            return
        group = open_surface(self.run, "paper", "dnn")
        found = {index for index in SLICES if group.is_whole(index)}
        assert found == {index for index in SLICES if self._is_whole(index)}

    @invariant()
    def surface_reads_if_and_only_if_all_is_whole(self):
        whole = len(self.metadata) == 4 and all(self._is_whole(index) for index in SLICES)
        if not whole or self.copied not in {None, self.norm}:
            with pytest.raises(DamagedError):
                read_surface(self.run, "paper", "dnn")
            return
        surface, facts, home, step = read_surface(self.run, "paper", "dnn")
        assert (facts, home, step) == (FACTS[self.norm], GRID.home, GRID.step)
        np.testing.assert_array_equal(surface.a, GRID.a)
        np.testing.assert_array_equal(surface.b, GRID.b)
        np.testing.assert_array_equal(surface.loss, self._expected("loss"))
        np.testing.assert_array_equal(surface.accuracy, self._expected("accuracy"))

    @precondition(lambda self: self.copied == self.norm and len(self.metadata) == 4)
    @invariant()
    def zarr_reads_what_we_do(self):
        if all(self._is_whole(index) for index in SLICES):
            group = zarr.open_group(self.run / "surfaces.zarr", mode="r", path="paper/dnn")
            for array in ("loss", "accuracy"):
                np.testing.assert_array_equal(group[array][:], self._expected(array))

    def _expected(self, array: str) -> np.ndarray:
        expected = np.empty((K, K))
        for index, (i, j) in SLICES.items():
            expected[i, j] = self.files[array, index][: i.stop - i.start, : j.stop - j.start]
        return expected


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)


class TestStoreForLong(StoreMachine.TestCase):
    """Ten times as many and longer sequences."""

    pytestmark = pytest.mark.soak
    settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
