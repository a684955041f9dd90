"""A change of any file that a custom model loads is noticed: by --reuse, on a finished folder, by verify and by diff."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest

import tmrepro
from tests.support.recorder import Recorder
from tests.support.runs import forge_json
from tmrepro.comparison.runs import compare_runs
from tmrepro.errors import ComputeError, DamagedError, UsageError
from tmrepro.store.stages import stage_key
from tmrepro.usercode.record import ENTRIES_LIMIT
from tmrepro.verification.code import check_code, compare_code

CODE = {
    "ournets/__init__.py": "from .net import make\n",
    "ournets/net.py": """
from torch import nn
from helpers import act
class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(192, width), act(), nn.Linear(width, 10))
    def forward(self, x):
        from late_scale import scale
        return scale(self.body(x))
def make(width=4):
    return Net(width)
""",
    "helpers/__init__.py": "from helpers.acts import act\n",
    "helpers/acts.py": "from torch import nn\ndef act():\n    return nn.GELU()\n",
    "late_scale.py": "import fastacts\ndef scale(x):\n    return 1.0 * x\n",
    "other.py": """
from torch import nn
from helpers import act
def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 10), act())
""",
    "site-packages/fastacts/__init__.py": "",
    "site-packages/fastacts-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: fastacts\nVersion: 1.0\n",
    "site-packages/fastacts-1.dist-info/top_level.txt": "fastacts\n",
}
SPEC = """
version: 1
name: coded
data: {name: digits, train: 40, validation: 20, size: 8}
models: [{name: mine, kind: custom, factory: "ournets:make"}]
training: {batch_size: 20, warmup_steps: 0, max_epochs: 2, stop: {at: never}}
surfaces: [{name: one, grid: {K: 2, step: 0.5}, chunk: 1}]
compute: {threads: 1}
"""
ACTS = "helpers/acts.py"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """The code, the spec and a finished run, which each test finds as they were."""
    folder = tmp_path_factory.mktemp("coded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        _write(folder, CODE)
        (folder / "coded.yaml").write_text(SPEC, encoding="utf-8")
        for place in ("code", "code/site-packages"):
            patch.syspath_prepend(folder / place)
        tmrepro.run(folder / "coded.yaml", out=folder / "run")
        _forget(folder)
    return folder


@pytest.fixture
def code(home, monkeypatch):
    """Change a file: code(name, old, new). Each time it is as if Python had been started again."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for place in ("code", "code/site-packages"):
        monkeypatch.syspath_prepend(home / place)

    def change(name: str, old: str, new: str) -> None:
        assert old in CODE[name]
        _write(home, {name: CODE[name].replace(old, new)})
        _forget(home)

    _forget(home)
    yield change
    _write(home, CODE)
    _forget(home)


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / "code" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _forget(folder: Path) -> None:
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]
    importlib.invalidate_caches()


def _bytes(run: Path) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in run.rglob("*") if path.is_file()}


def test_the_record_is_in_the_provenance_and_names_nothing_of_this_machine(home):
    text = (home / "run/provenance.json").read_text(encoding="utf-8")
    recorded = json.loads(text)["stages"]["training/mine"]["inputs"]["model"]["code"]
    assert set(recorded["files"]) == {name for name in CODE if name != "other.py" and "site-packages" not in name}
    assert set(recorded["distributions"]) == {"torch", "fastacts"}
    assert str(home) not in text


CHANGES = [
    (ACTS, "GELU", "ReLU"),
    ("helpers/__init__.py", "from", "# a word\nfrom"),
    ("late_scale.py", "1.0", "2.0"),
    ("ournets/__init__.py", "make", "make, Net"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_finished_folder_is_not_said_to_be_done_with_other_code(home, code, change):
    before = _bytes(home / "run")
    code(*change)
    with pytest.raises(
        UsageError, match=rf"holds a finished run with other code of mine: {change[0]} differs"
    ) as refused:
        tmrepro.run(home / "coded.yaml", out=home / "run")
    assert "restore the code of the run, or choose another --out; with --reuse" in str(refused.value)
    assert _bytes(home / "run") == before


def test_a_finished_folder_is_done_with_the_same_code_and_untouched(home, code):  # noqa: ARG001
    before = _bytes(home / "run")
    recorder = Recorder()
    result = tmrepro.run(home / "coded.yaml", out=home / "run", reporter=recorder)
    assert result.already_complete
    assert result.notes == ()
    assert _bytes(home / "run") == before


def test_another_version_of_what_the_code_imports_is_named(home, code, tmp_path):
    code("site-packages/fastacts-1.dist-info/METADATA", "1.0", "1.1")
    with pytest.raises(UsageError, match=r"other code of mine: fastacts 1\.1 here, 1\.0 in the run"):
        tmrepro.run(home / "coded.yaml", out=home / "run")
    recorder = Recorder()
    run = tmrepro.run(home / "coded.yaml", out=tmp_path / "run", reuse=home / "run", reporter=recorder).run
    assert recorder.names("reused") == set()
    assert "model.code.distributions.fastacts: 1.1 here, 1.0 there" in recorder.stages["training/mine"][1]
    found = compare_runs(home / "run", run)
    assert found.first is None
    assert "code of mine: fastacts 1.0 here, 1.1 there" in found.reasons


def test_reuse_trains_again_where_a_helper_was_changed_and_diff_and_rerun_name_it_first(home, code, tmp_path):
    code(ACTS, "GELU", "ReLU")
    recorder = Recorder()
    run = tmrepro.run(home / "coded.yaml", out=tmp_path / "run", reuse=home / "run", reporter=recorder).run
    assert recorder.names("reused") == set()
    assert f"model.code.files.{ACTS}" in recorder.stages["training/mine"][1]
    first = compare_runs(home / "run", run).first
    assert first is not None
    assert (first.stage, first.difference.what) == ("code", ACTS)
    failed = [
        check for check in tmrepro.verify(home / "run", level="rerun", trust_code=True).checks if not check.passed
    ]
    assert failed[0].detail.startswith(f"{ACTS} differs (SHA-256 ")
    assert next(check.subject for check in failed if check.level == "rerun") == "code"


@pytest.mark.parametrize(
    ("old", "new"), [("GELU", "ReLU"), ("nn.GELU()", "nn.Linear(4, 5)"), ("def act():", "def act(:")]
)
def test_an_audit_names_the_changed_file_and_evaluates_no_other_network(home, code, old, new):
    code(ACTS, old, new)
    verdict = tmrepro.verify(home / "run", trust_code=True)
    (failed,) = [check for check in verdict.checks if not check.passed]
    assert (failed.subject, failed.grade, verdict.exit_code) == ("code", "different", 1)
    assert failed.detail.startswith(f"{ACTS} differs")
    assert any("not audited" in warning and "mine" in warning for warning in verdict.warnings)
    with pytest.raises(DamagedError, match=f"the code has changed since the run: {ACTS} differs"):
        tmrepro.open_run(home / "run", trust_code=True).model("mine")


def test_an_audit_of_unchanged_code_passes(home, code):  # noqa: ARG001
    verdict = tmrepro.verify(home / "run", trust_code=True)
    assert verdict.passed
    assert [check.grade for check in verdict.checks if check.subject == "code"] == ["identical"]


def test_a_helper_of_two_models_is_in_the_key_of_both(home, code, tmp_path):
    spec = tmp_path / "two.yaml"
    two = '[{name: mine, kind: custom, factory: "ournets:make"}, {name: other, kind: custom, factory: "other:make"}]'
    spec.write_text(SPEC.replace('[{name: mine, kind: custom, factory: "ournets:make"}]', two), encoding="utf-8")
    recorder = Recorder()
    first = tmrepro.run(spec, out=tmp_path / "run", reuse=home / "run", reporter=recorder).run
    assert recorder.names("reused") == {"training/mine", "minimum/mine", "surface/one/mine", "planes/mine"}
    code(ACTS, "GELU", "ReLU")
    again = Recorder()
    tmrepro.run(spec, out=tmp_path / "again", reuse=first, reporter=again)
    assert again.names("reused") == set()


def test_code_that_is_not_at_hand_was_not_looked_at(home):
    recorder = Recorder()
    result = tmrepro.run(home / "coded.yaml", out=home / "run", reporter=recorder)
    assert result.already_complete
    (note,) = result.notes
    assert note.startswith("the code of mine was not checked: ournets:make was not found")
    assert recorder.notes == [note]


def test_damage_is_not_made_good_with_other_code(home, code, tmp_path):
    run = Path(shutil.copytree(home / "run", tmp_path / "run"))
    (run / "surfaces.zarr/one/mine/loss/c/0/0").unlink()
    before = _bytes(run)
    code(ACTS, "GELU", "ReLU")
    with pytest.raises(UsageError, match=f"other code of mine: {ACTS} differs"):
        tmrepro.run(home / "coded.yaml", out=run)
    assert _bytes(run) == before
    assert not (run / ".work").exists()
    code(ACTS, "GELU", "GELU")
    tmrepro.run(home / "coded.yaml", out=run)
    assert compare_runs(home / "run", run).first is None


def test_an_unfinished_run_trains_again_with_the_new_code(home, code, tmp_path):
    class StopError(Exception):
        pass

    recorder = Recorder()

    def stop(name, action, reason):
        recorder.stages[name] = (action, reason)
        if name == "figures":
            raise StopError

    recorder.stage = stop
    for change in ("GELU", "ReLU"):
        code(ACTS, "GELU", change)
        with pytest.raises(StopError):
            tmrepro.run(home / "coded.yaml", out=tmp_path / "run", reporter=recorder)
    assert f"inputs changed: model.code.files.{ACTS}" in recorder.stages["training/mine"][1]


def test_workers_that_find_a_file_changed_meanwhile_take_no_part(home, code, tmp_path):
    code(ACTS, "GELU", "GELU")

    def change(name, action, reason):  # noqa: ARG001
        if name == "training/mine":  # before the first task, so before workers load anything
            _write(home, {ACTS: CODE[ACTS].replace("GELU", "ReLU")})

    recorder = Recorder()
    recorder.stage = change
    with pytest.raises(ComputeError, match=rf"cannot take part: .*code of mine.files.{ACTS}"):
        tmrepro.run(home / "coded.yaml", out=tmp_path / "run", workers=2, reporter=recorder)


HOSTILE = [
    None,
    [],
    {},
    {"files": None, "distributions": {}},
    {"files": {"a": "x"}, "distributions": {}},
    {"files": {}, "distributions": {"torch": 1}},
    {"files": {f"{n}": "0" * 64 for n in range(ENTRIES_LIMIT + 1)}, "distributions": {}},
]


@pytest.mark.parametrize("record", HOSTILE)
def test_a_record_that_is_none_is_damage_in_words(home, code, tmp_path, record):  # noqa: ARG001
    run = Path(shutil.copytree(home / "run", tmp_path / "run"))

    def forge(document):
        stage = document["stages"]["training/mine"]
        stage["inputs"]["model"]["code"] = record
        stage["key"] = stage_key(stage["inputs"])

    forge_json(run, "provenance.json", forge)
    with pytest.raises(DamagedError, match="training/mine: code"):
        tmrepro.run(home / "coded.yaml", out=run)
    with pytest.raises(DamagedError, match="training/mine: code"):
        compare_runs(home / "run", run)
    (check,), _ = check_code(tmrepro.open_run(run, trust_code=True))
    assert (check.subject, check.grade) == ("code", "damaged")
    (check,) = compare_code(
        *(tmrepro.open_run(one).provenance for one in (home / "run", run)),
        spec=tmrepro.load_spec(home / "coded.yaml"),
        level="rerun",
    )
    assert check.grade == "damaged"
