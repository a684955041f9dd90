"""The store: writes the files of a run folder atomically, and reads them without trust.

    atomic.py       every write (temporary name, flush, rename, flush of the folder) and every checked read
    lock.py         only one process at a time works in a run folder
    run_files.py    every file of a run: path, media type, who keeps it
    documents.py    JSON, and history.csv
    tensors.py      theta.safetensors and labels.npy
    zarr_metadata.py  the zarr v3 metadata of a surface: written by zarr, read against an allow-list
    chunks.py       the bytes of one chunk: zstd with its checksum, then crc32c
    zarr_files.py   surfaces.zarr as files: the content of a key of the store
    surface_group.py  one surface: writes, reads and checks chunks
    surfaces.py     surfaces.zarr of a run: create, read, consolidate; kept_surfaces.py: that of tmrepro.loss_surface
    manifest.py     manifest-sha256.txt: writes it, and checks a folder against it
    litter.py       files that other programs leave; transport.py: line ends and pointers that a transport changed
    crate.py        ro-crate-metadata.json
    specs.py        spec.yaml; signatures.py: the data section of provenance.json
    attributes.py   attributes that every format can hold; labels.py: long_name and units
    finished.py     reads a finished run or reference without torch, for tables, pages and exports
    minima.py       minimum.json; curvature.py, statistics.py, trajectories.py, directions.py: the files of the same names
    stages.py       which stages of a run are done, and why a stage runs again

Import from the modules. This file imports nothing, so that code that writes JSON does not load zarr.
"""
