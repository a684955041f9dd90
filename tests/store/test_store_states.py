"""Any sequence of writing, deleting and damaging chunks, against a plain dict of what should be whole."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tmrepro.errors import DamagedError
from tmrepro.records import Direction, Grid, SurfaceFacts
from tmrepro.store.surfaces import chunk_is_whole, chunk_slices, consolidate, create_surface, read_surface, write_chunk

K, CHUNK = 3, 2
SLICES = {index: (i, j) for index, i, j in chunk_slices(K, CHUNK)}
GRID = Grid(a=np.arange(K) - 1.0, b=0.5 * np.arange(K), home=(1, 0), step=1.0)
FACTS = SurfaceFacts(Direction(1, "a", 1.0), Direction(2, "b", 1.0), 0.25, 2.0, 3, "original")

indices = st.sampled_from(sorted(SLICES))
arrays = st.sampled_from(["loss", "accuracy"])


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.run = Path(tempfile.mkdtemp())
        self.whole: dict[tuple[int, int], float] = {}
        create_surface(self.run, "paper", "dnn", grid=GRID, chunk=CHUNK, facts=FACTS)

    def teardown(self) -> None:
        shutil.rmtree(self.run)

    def _file(self, index: tuple[int, int], array: str) -> Path:
        return self.run / f"surfaces.zarr/paper/dnn/{array}/c/{index[0]}/{index[1]}"

    @rule(index=indices, value=st.floats())
    def write(self, index, value):
        i, j = SLICES[index]
        block = np.full((K, K), value)[i, j]
        write_chunk(self.run, "paper", "dnn", index, block, -block)
        self.whole[index] = value

    @rule(index=indices, array=arrays)
    def delete(self, index, array):
        self._file(index, array).unlink(missing_ok=True)
        self.whole.pop(index, None)

    @rule(index=indices, array=arrays, position=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
    def damage(self, index, array, position, flip):
        if index not in self.whole:
            return
        data = bytearray(self._file(index, array).read_bytes())
        data[int(position * len(data))] ^= flip
        self._file(index, array).write_bytes(data)
        del self.whole[index]

    @rule(index=indices, array=arrays, share=st.floats(0, 1, exclude_max=True))
    def cut(self, index, array, share):
        if index not in self.whole:
            return
        data = self._file(index, array).read_bytes()
        self._file(index, array).write_bytes(data[: int(share * len(data))])
        del self.whole[index]

    @rule()
    def create_again(self):
        create_surface(self.run, "paper", "dnn", grid=GRID, chunk=CHUNK, facts=FACTS)

    @rule()
    def consolidate(self):
        consolidate(self.run)

    @invariant()
    def exactly_what_was_written_and_left_alone_is_whole(self):
        assert {index for index in SLICES if chunk_is_whole(self.run, "paper", "dnn", index)} == set(self.whole)

    @invariant()
    def surface_reads_if_and_only_if_all_is_whole(self):
        if set(self.whole) != set(SLICES):
            with pytest.raises(DamagedError):
                read_surface(self.run, "paper", "dnn")
            return
        expected = np.empty((K, K))
        for index, (i, j) in SLICES.items():
            expected[i, j] = self.whole[index]
        surface, *_ = read_surface(self.run, "paper", "dnn")
        np.testing.assert_array_equal(surface.loss, expected)
        np.testing.assert_array_equal(surface.accuracy, -expected)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
