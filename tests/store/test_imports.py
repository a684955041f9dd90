"""The store is usable where torch is not: verification of a folder must not load it."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import tmrepro.store.atomic, tmrepro.store.documents, tmrepro.store.lock, tmrepro.store.manifest, tmrepro.store.tensors
assert "zarr" not in sys.modules, "zarr"
import tmrepro.store.crate, tmrepro.store.surfaces
assert "torch" not in sys.modules, "torch"
"""


def test_store_loads_no_torch_and_zarr_only_for_surfaces():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
