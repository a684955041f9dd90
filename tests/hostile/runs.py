"""A finished run folder, made hostile in ways drawn from a seed, and a command that meets it.

Most cases are forged as a careful attacker would: the manifest and the recorded stages are made to agree with what was
changed, so that the bytes get past the first check and reach whoever has to make sense of them.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import shutil
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import payloads

from tmrepro.verify.bands import Replicate, measure_bands
from tmrepro.view import open_run

SURFACE = "surfaces.zarr/s/dnn"
CODECS: list[dict[str, Any]] = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "zstd", "configuration": {"level": 5, "checksum": True}},
    {"name": "crc32c"},
]
NAMES = (
    "../escape", "a\nb", "a\x1b[31mred", "-rf", "con", " ", "name ", "%00", "a\\b", "x" * 255, "ä\u202e", "🧨",
    os.fsdecode(b"\xff\xfe"), ".hidden", "manifest-sha256.txt.1", "zarr.json", ".zarray", "theta.pkl", "~", "*", "$(touch x)",
)  # fmt: skip


@dataclass
class Case:
    """A folder `home` with `run` (hostile) and `outside` (to be left alone); `argv` is what is done about it."""

    home: Path
    random: random.Random
    template: Path
    argv: list[str] = field(default_factory=list)
    about: list[str] = field(default_factory=list)

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def outside(self) -> Path:
        return self.home / "outside"

    @property
    def marker(self) -> Path:
        return self.home / "marker"

    def files(self) -> list[str]:
        """The plain files of the hostile folder, as paths relative to it."""
        found = []
        for folder, _, names in os.walk(self.run):
            paths = [Path(folder, name) for name in names]
            found += [str(path.relative_to(self.run)) for path in paths if stat.S_ISREG(path.lstat().st_mode)]
        return sorted(found)

    def pick(self, *ends: str) -> Path:
        """One of the files whose names end so."""
        return self.run / self.random.choice([path for path in self.files() if path.endswith(ends)] or ["spec.yaml"])


def build(home: Path, *, seed: int, template: Path) -> Case:
    """The case of a seed, written below `home`."""
    random_ = random.Random(f"run {seed}")  # noqa: S311 - to be drawn again
    case = Case(home, random_, template)
    shutil.copytree(template, case.run)
    _write_outside(case)
    command = random_.choices([name for name, _ in COMMANDS], [weight for _, weight in COMMANDS])[0]
    if command == "continue":
        _unfinish(case)
    if command == "reference":
        _make_reference(case)
    for _ in range(random_.choice((1, 1, 1, 2, 3))):
        attack = random_.choices([name for name, _ in ATTACKS], [weight for _, weight in ATTACKS])[0]
        case.about.append(attack.__name__)
        attack(case)
    if random_.random() < 0.75 or command == "reference":
        case.about.append("forged")
        forge(case)
    case.argv = _argv(command, case)
    return case


COMMANDS: list[tuple[str, float]] = [
    ("integrity", 18), ("statistics", 2), ("audit", 3), ("rerun", 0.3), ("stats", 20), ("figures", 2), ("report", 3),
    ("view", 30), ("run", 6), ("continue", 5), ("reuse", 5), ("reference", 4), ("diff", 3),
]  # fmt: skip


def _argv(command: str, case: Case) -> list[str]:
    run, spec = str(case.run), str(case.home / "tiny.yaml")
    out = str(case.home / "cwd" / "out")
    match command:
        case "integrity" | "statistics" | "audit" | "rerun":
            extra = case.random.choice([[], ["--json"], ["--junit", "verdict.xml"], ["--html", "verdict.html"]])
            return ["verify", run, "--level", command, *extra]
        case "stats":
            return ["stats", run, *case.random.choice([[], ["--json"]])]
        case "figures" | "report":
            return [command, run]
        case "view":
            return ["view", run]
        case "run" | "continue":
            return ["run", spec, "--out", run, *case.random.choice([[], ["--quiet"]])]
        case "reuse":
            return ["run", spec, "--out", out, "--reuse", run]
        case "reference":
            return ["verify", str(case.template), "--level", "statistics", "--reference", run]
        case "diff":
            return ["diff", *case.random.choice([[run, str(case.template)], [str(case.template), run]])]
    raise AssertionError(command)


def _write_outside(case: Case) -> None:
    """What a link could lead to: files that somebody cares about, by the names that a run would write or remove."""
    names = ("secret.txt", "spec.yaml", "tmp/keep.tmp", "stages/training+dnn.json", "checkpoints/dnn.safetensors",
             "dnn/theta.safetensors", "dnn/labels.npy", "dnn/history.csv", "s.png", "c/0/0", "lock", "zarr.json")  # fmt: skip
    for name in names:
        path = case.outside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"keep " + name.encode())
    (case.home / "cwd").mkdir()
    shutil.copy(case.template.parent / "tiny.yaml", case.home / "tiny.yaml")


def _unfinish(case: Case) -> None:
    """As a killed process leaves it: stage records in .work, no manifest."""
    document = json.loads((case.run / "provenance.json").read_text())
    stages = case.run / ".work" / "stages"
    stages.mkdir(parents=True)
    (case.run / ".work" / "tmp").mkdir()
    (case.run / ".work" / "checkpoints").mkdir()
    (case.run / ".work" / "started.json").write_text('"2020-01-01T00:00:00+00:00"\n')
    for name, stage in document["stages"].items():
        if case.random.random() < 0.7:
            (stages / f"{name.replace('/', '+')}.json").write_text(json.dumps(stage))
    for name in ("manifest-sha256.txt", "ro-crate-metadata.json", "provenance.json", "report.html"):
        (case.run / name).unlink()


def _make_reference(case: Case) -> None:
    """As `reference build` leaves it: no weights, and bands measured on two replicates, here of one run and a tenth more."""
    view = open_run(case.template)
    minima = {name: view.minimum(name) for name in view.models}
    more = {
        surface: {
            model: {name: value and value * 1.1 for name, value in values.items()} for model, values in models.items()
        }
        for surface, models in view.statistics.items()
    }
    replicates = [Replicate(view.statistics, minima), Replicate(more, minima)]
    bands = measure_bands(replicates, points={"s": 5}, images=(20, 10))
    for path in case.files():
        if path.endswith((".pdf", ".safetensors", ".npy", "report.html", "ro-crate-metadata.json")):
            (case.run / path).unlink()
    (case.run / "bands.json").write_text(json.dumps(bands.document()))
    if case.random.random() < 0.4:
        json_changed(case, "bands.json")


def forge(case: Case) -> None:
    """Make the recorded hashes of all stages, and then the manifest, agree with the files."""
    hashes = {}
    for path in case.files():
        if (case.run / path).stat().st_size <= 2**28:
            with (case.run / path).open("rb") as file:
                hashes[path] = hashlib.file_digest(file, "sha256").hexdigest()
    for path in [case.run / name for name in hashes if name == "provenance.json" or name.startswith(".work/stages/")]:
        try:
            document = json.loads(path.read_text())
            stages = document["stages"].values() if path.name == "provenance.json" else [document]
            for stage in stages:
                stage["files"] = {name: hashes.get(name, digest) for name, digest in stage["files"].items()}
            path.write_text(json.dumps(document))
            hashes[str(path.relative_to(case.run))] = hashlib.sha256(path.read_bytes()).hexdigest()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    manifest = case.run / "manifest-sha256.txt"
    try:
        lines = [f"{digest}  {path}\n" for path, digest in hashes.items() if not path.startswith((".work", "manifest"))]
        # An attack on the manifest itself stays.
        if "manifest-sha256.txt" in hashes and "manifest" not in case.about:
            manifest.write_text("".join(lines), errors="surrogateescape")
    except OSError:
        return


# The attacks.


def bytes_changed(case: Case) -> None:
    path, random_ = case.pick(""), case.random
    if path.stat().st_size > 2**22:
        return
    data = bytearray(path.read_bytes())
    match random_.randrange(6):
        case 0 if data:
            for _ in range(random_.randint(1, 8)):
                data[random_.randrange(len(data))] ^= random_.randint(1, 255)
        case 1:
            del data[random_.randint(0, len(data)) :]
        case 2:
            data = bytearray()
        case 3:
            data += random_.randbytes(random_.choice((1, 100, 70_000)))
        case 4:
            data = bytearray(random_.randbytes(random_.choice((1, 8, 1000))))
        case _:
            start = random_.randint(0, len(data))
            data[start:start] = random_.choice((b"\0", b"\n", b"\xff", b"{", b"..", b"\x1b[31m")) * random_.randint(
                1, 4
            )
    path.write_bytes(bytes(data))


def huge_file(case: Case) -> None:
    with case.pick("").open("ab") as file:
        file.truncate(case.random.choice((2**28, 2**28, 2**40)))


def code_in_disguise(case: Case) -> None:
    payload = case.random.choice((payloads.pickled, payloads.torch_file))(case.marker)
    case.pick("").write_bytes(payload)


def replaced(case: Case) -> None:
    """A file, or a folder with all in it, gives way to something that is neither."""
    path, random_ = case.pick(""), case.random
    for _ in range(random_.choice((0, 0, 1, 2))):
        path = path.parent if path.parent != case.run else path
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    match random_.randrange(9):
        case 0:
            path.symlink_to(case.outside / "secret.txt")
        case 1:
            path.symlink_to(case.outside)
        case 2:
            path.symlink_to(path.name)
        case 3:
            path.symlink_to(random_.choice(("/dev/zero", "/proc/self/environ", "/etc/passwd", "/")))
        case 4:
            os.mkfifo(path)
        case 5:
            where = Path.cwd()
            os.chdir(path.parent)  # the name of a socket must be short
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
            os.chdir(where)
        case 6:
            path.mkdir()
        case 7:
            (path / "deeper").mkdir(parents=True)
            (path / "deeper" / path.name).write_bytes(b"x")
        case _:
            path.symlink_to(case.template / path.relative_to(case.run))


def strange_names(case: Case) -> None:
    folder = case.pick("").parent
    name = case.random.choice(NAMES)
    path = folder / name
    if case.random.random() < 0.3:
        for _ in range(case.random.choice((1, 20, 300))):
            path = path / "d"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    except OSError:
        _deep(folder)


def _deep(folder: Path) -> None:
    """Folders below folders until no path names the last."""
    where = Path.cwd()
    try:
        os.chdir(folder)
        for _ in range(60):
            Path("d" * 100).mkdir(exist_ok=True)
            os.chdir("d" * 100)
    finally:
        os.chdir(where)


def removed(case: Case) -> None:
    path = case.pick("")
    shutil.rmtree(path.parent) if case.random.random() < 0.3 and path.parent != case.run else path.unlink()


def swapped(case: Case) -> None:
    one, other = case.pick(""), case.pick("")
    if max(one.stat().st_size, other.stat().st_size) > 2**22:
        return
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def json_changed(case: Case, name: str = ".json") -> None:
    path = case.pick(name)
    if path.stat().st_size > 2**20:
        return
    try:
        document = json.loads(path.read_text())
    except (ValueError, RecursionError):
        return
    text, random_ = json.dumps(document), case.random
    for _ in range(random_.choice((1, 1, 2, 4))):
        spot = random_.choice(list(_spots(document)) or [((), None)])
        text = _with_odd_value(document, spot[0], random_)
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            break
    path.write_text(text, errors="surrogateescape")


def _spots(value: Any, path: tuple[Any, ...] = ()) -> Any:
    """Every place in a JSON value, as a path of keys."""
    yield path, value
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _spots(below, (*path, key))


def _with_odd_value(document: Any, path: tuple[Any, ...], random_: random.Random) -> str:
    """The text of a document with one place changed, removed, renamed or given twice."""
    changed, hole = copy.deepcopy(document), "@hole@"
    if not path:
        return random_.choice(payloads.ODD_JSON)
    above = changed
    for key in path[:-1]:
        above = above[key]
    match random_.randrange(5):
        case 0 if isinstance(above, dict):
            del above[path[-1]]
        case 1 if isinstance(above, dict):
            above[random_.choice(NAMES)] = above.pop(path[-1])
        case 2 if isinstance(above, list):
            above.extend(above * random_.choice((1, 100)))
        case _:
            above[path[-1]] = hole
    text = json.dumps(changed)
    return text.replace(f'"{hole}"', random_.choice(payloads.ODD_JSON))


def zarr_changed(case: Case) -> None:
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


def chunk_changed(case: Case) -> None:
    """Numbers that no evaluation gives, and chunks that lie about their size."""
    for _ in range(case.random.choice((1, 2, 8))):
        path = case.run / SURFACE / case.random.choice(("loss/c/0/0", "loss/c/1/0", "accuracy/c/0/1", "a/c/0", "b/c/0"))
        if str(path.relative_to(case.run)) in case.files():
            whole = case.template / path.relative_to(case.run)
            path.write_bytes(payloads.odd_chunk(case.random, case.marker, whole=whole.read_bytes()))


def weights_changed(case: Case) -> None:
    whole = (case.template / "models/dnn/theta.safetensors").read_bytes()
    case.pick(".safetensors").write_bytes(payloads.odd_safetensors(case.random, case.marker, whole=whole))


def labels_changed(case: Case) -> None:
    case.pick(".npy").write_bytes(payloads.odd_npy(case.random, case.marker))


def history_changed(case: Case) -> None:
    path, random_ = case.pick(".csv"), case.random
    if path.stat().st_size > 2**22:
        return
    header, *rows = path.read_text(errors="surrogateescape").splitlines() or [""]
    cells = ("nan", "inf", "-1", "1e999", "", "x", "1_0", "0x1", "\0", "é", "9" * 400, "1e308", "-0.0", '"', "=cmd|x")
    match random_.randrange(5):
        case 0:
            rows = [",".join(random_.choice(cells) for _ in range(7)) for _ in range(random_.choice((1, 3)))]
        case 1:
            rows = [",".join([str(n), *(random_.choice(("nan", "inf", "1e+308", "-5e-324", "0.0")) for _ in range(6))])
                    for n in range(1, random_.choice((2, 50)))]  # fmt: skip
        case 2:
            rows = []
        case 3:
            rows = [f"{n},1.0,1.0,1.0,1.0,1.0,1.0" for n in range(1, 200_000)]
        case _:
            header = random_.choice(("", "epoch", header.upper(), header + ",x", "\0"))
    path.write_text("\n".join([header, *rows]) + "\n", errors="surrogateescape")


def spec_changed(case: Case) -> None:
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


def manifest(case: Case) -> None:
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


def stages_changed(case: Case) -> None:
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

    random_.choice(
        [
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


def work_changed(case: Case) -> None:
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


def _checkpoint(case: Case) -> None:
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


ATTACKS: list[tuple[Callable[[Case], None], float]] = [
    (bytes_changed, 10), (huge_file, 1), (code_in_disguise, 4), (replaced, 10), (strange_names, 4), (removed, 3),
    (swapped, 3), (json_changed, 16), (zarr_changed, 10), (chunk_changed, 12), (weights_changed, 7), (labels_changed, 6),
    (history_changed, 5), (spec_changed, 6), (manifest, 6), (stages_changed, 8), (work_changed, 5),
]  # fmt: skip
