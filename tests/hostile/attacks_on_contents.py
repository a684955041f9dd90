"""Attacks on what a run stores: its surfaces, weights, labels, history and spec."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import payloads
from case import RunCase

SURFACE = "surfaces.zarr/s/dnn"
CODECS: list[dict[str, Any]] = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "zstd", "configuration": {"level": 5, "checksum": True}},
    {"name": "crc32c"},
]


def zarr_changed(case: RunCase) -> None:
    """What zarr itself might follow: huge shapes, other formats, codecs that run code."""
    path, random_ = case.pick("loss/zarr.json", "accuracy/zarr.json", "a/zarr.json"), case.random
    pickle_codec = {"name": random_.choice(("pickle", "numcodecs.pickle", "json2")), "configuration": {}}
    sharded = {"name": "sharding_indexed", "configuration": {"chunk_shape": [1, 1], "codecs": [], "index_codecs": []}}
    changes: list[dict[str, Any]] = [
        {"shape": [2**40, 2**40]}, {"shape": [4096, 4096]}, {"shape": [4097, 4097]}, {"shape": [2, 3]}, {"shape": []},
        {"shape": [0, 0]}, {"shape": [-2, -2]}, {"shape": [True, True]}, {"shape": [2.0, 2.0]}, {"shape": ["2", "2"]},
        {"codecs": [pickle_codec]}, {"codecs": [*CODECS, pickle_codec]}, {"codecs": [sharded]},
        {"codecs": []}, {"codecs": CODECS[:1]}, {"codecs": CODECS * 1000},
        {"data_type": "object"}, {"data_type": "string"}, {"data_type": {"name": "numpy.void"}}, {"data_type": "float32"},
        {"zarr_format": 2}, {"zarr_format": 4}, {"node_type": "group"}, {"fill_value": 0}, {"fill_value": "0x7ff"},
        {"storage_transformers": [pickle_codec]}, {"must_understand": True}, {"attributes": {"a": "\x1b[2J"}},
        {"chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}}}, {"dimension_names": ["b", "a"]},
    ]  # fmt: skip
    changes += [
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}}}
        for shape in ([1, 1], [0, 0], [2**40, 2**40], [3, 3], [1, 2], [-1, -1])
    ]
    change = random_.choice(changes)
    arrays = (
        [path] if random_.random() < 0.5 else [case.run / name for name in case.files() if name.endswith("zarr.json")]
    )
    for array in arrays:
        array.write_text(json.dumps({**_object(array), **change}))
    if "shape" in change and random_.random() < 0.5:
        grid = {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 1]}}}
        for array in arrays:
            array.write_text(json.dumps({**_object(array), **grid}))
    if random_.random() < 0.2:
        v2 = {"zarr_format": 2, "shape": [2, 2], "chunks": [2, 2], "dtype": "|O", "order": "C", "compressor": None,
              "fill_value": None, "filters": [{"id": "pickle"}]}  # fmt: skip
        (path.parent / ".zarray").write_text(json.dumps(v2))
        (path.parent / "0.0").write_bytes(payloads.pickled(case.marker))
        if random_.random() < 0.5:
            path.unlink()


def _object(path: Path) -> dict[str, Any]:
    """The document of a zarr.json, or of what an earlier attack left of it, none."""
    try:
        document = json.loads(path.read_text()) if path.stat().st_size < 2**20 else {}
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def chunk_changed(case: RunCase) -> None:
    """Numbers that no evaluation gives, and chunks that lie about their size."""
    for _ in range(case.random.choice((1, 2, 8))):
        path = case.run / SURFACE / case.random.choice(("loss/c/0/0", "loss/c/1/0", "accuracy/c/0/1", "a/c/0", "b/c/0"))
        if str(path.relative_to(case.run)) in case.files():
            whole = case.template / path.relative_to(case.run)
            path.write_bytes(payloads.odd_chunk(case.random, case.marker, whole=whole.read_bytes()))


def curvature_changed(case: RunCase) -> None:
    """Numbers that no Hessian has, in the places where a reader expects others."""
    path, random_ = case.run / "models/dnn/curvature.json", case.random
    if str(path.relative_to(case.run)) not in case.files():
        return
    document = _object(path)
    odd: tuple[Any, ...] = (
        None, -1, 0, 1e308, -1e308, 5e-324, 2**63, 2**62, "", "\x1b[2J", [], {}, [[]], [1e99] * 5, [0.0] * 100_000, True,
        {"grid": [0.0, 1e99], "values": [1e-99, 1e-99], "width": 1e-300, "probes": 2}, {"s": None}, {"\x1b[2J": {}},
    )  # fmt: skip
    for _ in range(random_.choice((1, 2, 4))):
        place: Any = document
        while isinstance(place, dict | list) and place and random_.random() < 0.8:
            key = random_.choice(list(place)) if isinstance(place, dict) else random_.randrange(len(place))
            if isinstance(place[key], dict | list) and place[key] and random_.random() < 0.6:
                place = place[key]
            else:
                place[key] = random_.choice(odd)
                break
    path.write_text(json.dumps(document))


def weights_changed(case: RunCase) -> None:
    whole = (case.template / "models/dnn/theta.safetensors").read_bytes()
    case.pick(".safetensors").write_bytes(payloads.odd_safetensors(case.random, case.marker, whole=whole))


def labels_changed(case: RunCase) -> None:
    case.pick(".npy").write_bytes(payloads.odd_npy(case.random, case.marker))


def history_changed(case: RunCase) -> None:
    path, random_ = case.pick(".csv"), case.random
    if path.stat().st_size > 2**22:
        return
    header, *rows = path.read_text(errors="surrogateescape").splitlines() or [""]
    cells = ("nan", "inf", "-1", "1e999", "", "x", "1_0", "0x1", "\0", "é", "9" * 400, "1e308", "-0.0", '"', "=cmd|x")
    match random_.randrange(7):
        case 0:
            rows = [",".join(random_.choice(cells) for _ in range(7)) for _ in range(random_.choice((1, 3)))]
        case 1:
            rows = [",".join([str(n), *(random_.choice(("nan", "inf", "1e+308", "-5e-324", "0.0")) for _ in range(6))])
                    for n in range(1, random_.choice((2, 50)))]  # fmt: skip
        case 2:
            rows = []
        case 3:
            rows = [f"{n},1.0,1.0,1.0,1.0,1.0,1.0" for n in range(1, 200_000)]
        case 4 | 5 if rows:
            at = random_.randrange(len(rows))
            row = rows[at].split(",")
            row[random_.randrange(len(row))] = random_.choice(cells)
            rows[at] = ",".join(row)
        case _:
            header = random_.choice(("", "epoch", header.upper(), header + ",x", "\0"))
    path.write_text("\n".join([header, *rows]) + "\n", errors="surrogateescape")


def spec_changed(case: RunCase) -> None:
    """Another spec: of code to be imported, of sizes that no memory holds, of names that lead elsewhere."""
    path, random_ = case.run / "spec.yaml", case.random
    if path.name not in case.files() or path.stat().st_size > 2**20:
        return
    text = path.read_text(errors="surrogateescape")
    custom = "version: 1\nname: tiny\ndata: {name: digits}\nmodels: [{name: dnn, kind: custom, factory: 'FACTORY'}]\n"
    kinds = ("dnn, widths: [1048576, 1024, 10]", "dnn, widths: [3]", "resnet50", "cnn", "cnn, channels: [60000, 10]")
    random_.choice(
        [
            lambda: path.write_text(
                custom.replace("FACTORY", random_.choice(("evil:make", "os:abort", "builtins:exit")))
            ),
            lambda: path.write_text(
                custom.replace("kind: custom, factory: 'FACTORY'", f"kind: {random_.choice(kinds)}")
            ),
            lambda: path.write_text(
                text.replace("name: dnn", f'name: "{random_.choice(("../x", "a/b", "..", "x" * 70))}"')
            ),
            lambda: path.write_text(text.replace("K: 5", f"K: {random_.choice((3, 4096, 10**9, -1, '2.0'))}")),
            lambda: path.write_text(
                text.replace("training: 1", "training: 1000").replace("directions: 1", "directions: 3")
            ),
            lambda: path.write_text(text.replace("digits", random_.choice(("cifar10", "images")))),
            lambda: path.write_text(text.replace("train: 20", f"train: {random_.choice((1, 19, 1500))}")),
            lambda: path.write_text("a: &a [1]\nb: [*a, *a]\n"),
            lambda: path.write_text("!!python/object/apply:os.system ['touch marker']\n"),
            lambda: path.write_bytes(b"\xff\xfe" + text.encode("utf-16-le")),
            lambda: path.write_text(
                text + random_.choice(("\0", "?", "- x\n", "%YAML 1.1\n", "name: again\n", "[" * 999))
            ),
            lambda: path.write_text("{a: " * 100_000),
        ]
    )()
