"""Attacks on what a run says of itself: its manifest, the records of its stages, and its .work."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import payloads
from case import NAMES, RunCase


def manifest(case: RunCase) -> None:
    path, random_ = case.run / "manifest-sha256.txt", case.random
    if path.name not in case.files() or path.stat().st_size > 2**20:
        return
    lines = path.read_text(errors="surrogateescape").splitlines()
    digest = hashlib.sha256((case.outside / "secret.txt").read_bytes()).hexdigest()
    zeros = "0" * 64
    added = random_.choice(
        [
            f"{digest}  ../outside/secret.txt", f"{digest}  {case.outside}/secret.txt",
            f"{digest}  models/../../outside/secret.txt",
            f"{zeros}  /dev/zero", f"{zeros}  ./spec.yaml", f"{zeros}  ", f"{zeros} *spec.yaml", f"\\{zeros}  a\\nb",
            f"{zeros.upper()}  x", f"{'0' * 63}  x", lines[0] if lines else "", "x" * 100_000, "\0", "é", f"{zeros}  \x1b[2J",
            f"{zeros}  models", f"{zeros}  " + "d/" * 5000 + "x", f"{zeros}  spec.yaml\r", f"{zeros}  manifest-sha256.txt",
        ]
    )  # fmt: skip
    lines.insert(random_.randint(0, len(lines)), added)
    if random_.random() < 0.05:
        lines = [f"{n:064x}  f{n}" for n in range(60_000)]
    path.write_text("\n".join(lines) + random_.choice(("\n", "", "\n\n")), errors="surrogateescape")


def stages_changed(case: RunCase) -> None:
    """Records of stages with the right keys that name other files, folders and facts: what --reuse and a resume read."""
    random_ = case.random
    stored = case.run / "provenance.json"
    recorded = ("provenance.json", ".work/stages/")
    paths = [case.run / path for path in case.files() if path.startswith(recorded) and path.endswith(".json")]
    if not paths:
        return
    path = random_.choice(paths)
    try:
        document = json.loads(path.read_text())
        stages = document["stages"] if path == stored else {"one": document}
        stage = random_.choice(list(stages.values()))
        files = stage["files"]
        name = random_.choice(list(files))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return
    digest = hashlib.sha256((case.outside / "secret.txt").read_bytes()).hexdigest()
    odd: tuple[Any, ...] = (None, -1, 1.5, "", "../../outside", [], {}, ["x"], True, 10**18, "\x1b[31m", "x" * 100_000)

    def fact() -> None:
        stage["facts"][random_.choice([*stage["facts"], "folder"])] = random_.choice(odd)

    def whole(field_: str) -> Callable[[], None]:
        return lambda: stage.__setitem__(field_, random_.choice(odd))

    def code() -> None:
        """A training that says it had a user's code, with a key that holds."""
        record = {"files": {random_.choice(NAMES): "0" * 64}, "distributions": {"torch": "1"}}
        part = random_.choice(("", "files", "distributions", "name", "digest"))
        if part in record:
            record[part] = random_.choice((*odd, {f"{n}": "0" * 64 for n in range(20_000)}))
        elif part:
            record["files"] = {
                "\x1b[2J" if part == "name" else "a.py": "0" * 64 if part == "name" else random_.choice(odd)
            }
        stage["inputs"] = {"data": {}, "model": {"kind": "custom", "code": record if part else random_.choice(odd)}}
        text = json.dumps(stage["inputs"], sort_keys=True, separators=(",", ":"))
        stage["key"] = hashlib.sha256(text.encode()).hexdigest()

    random_.choice(
        [
            code, code,
            lambda: files.__setitem__("../outside/secret.txt", digest),
            lambda: files.__setitem__(str(case.outside / "secret.txt"), digest),
            lambda: files.__setitem__("spec.yaml", digest),
            lambda: files.__setitem__(".work/lock", digest),
            lambda: files.__setitem__(random_.choice(NAMES), digest),
            lambda: files.__setitem__(name, random_.choice(odd)),
            lambda: files.update({f"{n}": "0" * 64 for n in range(20_000)}),
            fact, fact, fact,
            *(whole(field_) for field_ in ("name", "key", "inputs", "files", "facts", "seconds", "reason", "complete")),
            lambda: stage.__setitem__("extra", 1),
            lambda: stage.pop(random_.choice(list(stage))),
            lambda: stages.__setitem__("x", random_.choice(odd)),
        ]
    )()  # fmt: skip
    path.write_text(json.dumps(document if path == stored or "one" not in stages else stages["one"]))


def work_changed(case: RunCase) -> None:
    """A .work of somebody else's making: links where temporary files go, a lock that is another file, checkpoints."""
    random_, work = case.random, case.run / ".work"
    work.mkdir(exist_ok=True)
    (work / "checkpoints").mkdir(exist_ok=True)

    def link(name: str, target: Path) -> None:
        path = work / name if name else work
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.symlink_to(target)

    def lock() -> None:
        (work / "lock").unlink(missing_ok=True)
        os.link(case.outside / "lock", work / "lock")

    def pipe(name: str) -> None:
        path = work / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        os.mkfifo(path)

    random_.choice(
        [
            lambda: link("", case.outside),
            lambda: link(
                random_.choice(("tmp", "stages", "checkpoints")), case.outside / random_.choice(("tmp", "stages"))
            ),
            lambda: link(random_.choice(("lock", "holder", "started.json")), case.outside / "lock"),
            lock,
            lambda: pipe(random_.choice(("lock", "holder", "started.json", "tmp", "stages"))),
            lambda: (work / "started.json").write_text(random_.choice(payloads.ODD_JSON), errors="surrogateescape"),
            lambda: _checkpoint(case),
            lambda: _checkpoint(case),
        ]
    )()


def _checkpoint(case: RunCase) -> None:
    """A checkpoint under the name that the training asks for, with the digest that it should have."""
    provenance = json.loads((case.template / "provenance.json").read_text())
    key = provenance["stages"]["training/dnn"]["key"]
    whole = (case.template / "models/dnn/theta.safetensors").read_bytes()
    progress: dict[str, Any] = {
        "format": "tmrepro checkpoint 1", "attempt": 0, "seeds_collapsed": [], "history": [], "best_epoch": 0,
        "rejected_best": 0, "seconds": 0.0,
    }  # fmt: skip
    progress[case.random.choice(list(progress))] = case.random.choice((None, -1, "x", [1], [{}], {}, 10**30, 1e308))
    header = {
        "__metadata__": {"progress": json.dumps(progress)},
        "model.1.weight": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]},
    }
    data = case.random.choice(
        [
            payloads.safetensors(header),
            payloads.safetensors({"__metadata__": {"progress": "x"}}),
            payloads.safetensors({"__metadata__": {"progress": json.dumps(progress)}}, bytes(8)),
            payloads.odd_safetensors(case.random, case.marker, whole=whole),
            payloads.pickled(case.marker),
        ]
    )
    for folder in [case.run / ".work" / "checkpoints"]:
        if folder.is_dir() and not folder.is_symlink():
            (folder / f"dnn.{key[:16]}.safetensors").write_bytes(hashlib.sha256(data).digest() + data)
            shutil.rmtree(case.run / "models" / "dnn", ignore_errors=True)
