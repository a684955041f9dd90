"""What users build on: names of the Python API, commands and options. A change here is a change for them."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest
import typer

import tmrepro
from tmrepro.cli.main import app

COMMANDS = {
    "run": {
        "--out", "--data-dir", "--download", "--device", "--evaluator", "--preview", "--workers", "--reuse", "--only", "--quiet",
        "--debug", "--scheduler", "--scheduler-file", "--tls-ca", "--tls-cert", "--tls-key",
    },
    "worker": {"--scheduler-file", "--nworkers", "--data-dir", "--tls-ca", "--tls-cert", "--tls-key", "--debug"},
    "verify": {
        "--level", "--reference", "--replicate", "--share", "--seed", "--data-dir", "--device", "--workers",
        "--json", "--junit", "--html", "--update", "--yes", "--schema", "--trust-code", "--quiet", "--debug",
    },
    "reproduce": {"--out", "--data-dir", "--download", "--workers", "--quiet", "--debug"},
    "figures": {"--to", "--scale", "--debug"},
    "report": {"--to", "--debug"},
    "stats": {"--json", "--debug"},
    "curvature": {
        "--models", "--top", "--seed", "--samples", "--tolerance", "--probes", "--density-probes", "--data-dir", "--device",
        "--workers", "--scheduler", "--scheduler-file", "--tls-ca", "--tls-cert", "--tls-key",
        "--trust-code", "--json", "--quiet", "--debug",
    },
    "claims": {"--json", "--html", "--claims", "--debug"},
    "diff": {"--json", "--debug"},
    "view": {"--to", "--debug"},
    "export": {"--to", "--out", "--debug"},
    "ls": {"--json", "--csv", "--html", "--debug"},
    "compare": {"--json", "--csv", "--html", "--debug"},
    "bench": {"--model", "--evaluator", "--images", "--grid", "--level", "--threads", "--repeats", "--json", "--debug"},
    "new": {"--debug"},
    "doctor": {"--folder", "--threads", "--json", "--debug"},
    "reference build": {
        "--to", "--replicates", "--runs", "--data-dir", "--device", "--workers", "--quiet", "--debug",
    },
    "spec check": {"--debug"},
    "spec explain": {"--json", "--debug"},
    "spec schema": {"--debug"},
    "spec hash": {"--debug"},
}  # fmt: skip


def found_commands() -> dict[str, Any]:
    top = typer.main.get_command(app)
    found = {}
    for name, command in top.commands.items():
        inner = getattr(command, "commands", None)
        found |= {f"{name} {sub}": leaf for sub, leaf in inner.items()} if inner else {name: command}
    return found


def test_python_names() -> None:
    assert sorted(tmrepro.__all__) == [
        "Silent",
        "Trajectory", "curvature_of", "directions_toward", "hessian_directions", "load_spec", "loss_line", "loss_surface",
        "open_run", "pca_directions", "plot_surface", "run", "surface_statistics", "verify",
    ]  # fmt: skip
    for name in tmrepro.__all__:
        assert callable(getattr(tmrepro, name))
        assert inspect.getdoc(getattr(tmrepro, name))


def test_commands() -> None:
    assert set(found_commands()) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_options(name: str) -> None:
    long = {option for parameter in found_commands()[name].params for option in parameter.opts if option[:2] == "--"}
    assert long - {"--help"} == COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches_by_an_example(name: str) -> None:
    assert f"tmrepro {name}" in (found_commands()[name].help or "")


@pytest.mark.parametrize("code", ["import tmrepro, tmrepro.spec, tmrepro.api", "import tmrepro.cli.main"])
def test_loads_no_torch(code: str) -> None:
    program = f"{code}\nimport sys, json\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)
    assert not {"torch", "torchvision", "matplotlib", "zarr", "dask", "distributed"} & set(loaded)


def test_version_is_that_of_the_package() -> None:
    program = "import tmrepro, sys; assert 'torch' not in sys.modules; print(tmrepro.__version__, '__version__' in dir(tmrepro))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout
    assert said == f"{version('tmrepro')} True\n"


@pytest.mark.parametrize(
    ("old", "new"), [("tmrepro.progress", "tmrepro.reporting.progress"), ("tmrepro.view", "tmrepro.runner.view")]
)
def test_modules_of_the_last_release_are_found_and_say_what_they_are_called_now(old: str, new: str) -> None:
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new}"):
        found = importlib.import_module(old)
    now = importlib.import_module(new)
    assert now.__spec__.name == now.__name__ == new
    names = [name for name in vars(now) if not name.startswith("_")]
    assert all(getattr(found, name) is getattr(now, name) for name in names)
