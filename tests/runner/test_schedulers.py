"""Schedulers and workers that cannot be had: said in words, soon, and the folder continues."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tmrepro.errors import UsageError
from tmrepro.records import Signature
from tmrepro.spec import load_spec

HOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return found.getsockname()[1]


@pytest.mark.slow
def test_one_worker_needs_no_dask(small, tmp_path):
    code = f"import sys, tmrepro; tmrepro.run({str(small.spec)!r}, out={str(tmp_path / 'run')!r}); "
    code += "sys.exit('distributed' in sys.modules or 'dask' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path).returncode == 0


def test_an_address_that_nobody_listens_at(small, start, tmp_path):
    command = start("run", small.spec, "--out", tmp_path / "run", "--scheduler", f"tcp://{HOST}:{free_port()}")
    assert command.wait() == 4
    assert re.search(rf"error: no scheduler answers at tcp://{HOST}:\d+\. Start `dask scheduler` there", command.err)
    assert "Traceback" not in command.err


def test_a_scheduler_file_that_nobody_wrote(small, start, tmp_path):
    command = start("run", small.spec, "--out", tmp_path / "run", "--scheduler-file", tmp_path / "none.json")
    assert command.wait() == 4
    assert "none.json: no such file; is the scheduler running?" in command.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scheduler", "tcp://10.0.0.5:8786"], "without TLS anybody on the network could run code here"),
        (["--scheduler", "tls://10.0.0.5:8786"], "TLS needs --tls-ca"),
        (["--scheduler", "nowhere"], "expected the address of a scheduler"),
        (["--scheduler", "127.0.0.1:1", "--workers", "2"], "choose one of them"),
        (["--scheduler", "127.0.0.1:1", "--scheduler-file", "f"], "either the scheduler's address or --scheduler-file"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(arguments, words, small, start, tmp_path):
    command = start("run", small.spec, "--out", tmp_path / "run", *arguments)
    assert command.wait() == 2
    assert words in command.err
    assert not (tmp_path / "run").exists()


def test_a_worker_over_the_network_without_tls_is_refused(start):
    command = start("worker", "tcp://10.0.0.5:8786")
    assert command.wait() == 2
    assert "without TLS" in command.err


def setup_of(spec: Path, **changes):
    """A setup that this process fits, but for `changes` of its identity."""
    import torch

    from tmrepro.numerics.determinism import Determinism
    from tmrepro.runner.setup import RunSetup, identity_of

    loaded, level = load_spec(spec), Determinism("portable", torch.get_num_threads())
    identity = identity_of(torch.device("cpu"), level)
    for name, value in changes.items():
        identity[name] = {**identity[name], **value}
    signature = Signature.of_pictures(classes=10, size=8)
    from tmrepro.networks import code_of_model

    code = {model.name: code_of_model(model, signature=signature) for model in loaded.models if model.kind == "custom"}
    return RunSetup(loaded, "cpu", level, None, "f" * 64, signature, code, identity)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"tmrepro": {"commit": "0123abc"}}, "tmrepro.commit: 0123abc here"),
        ({"packages": {"torch": "1.0"}}, "packages.torch: 1.0 here"),
        ({"arithmetic": {"cpu": {"sum": "0" * 16}}}, "arithmetic.cpu"),
        ({"platform": {"threads": 64}}, "platform.threads: 64 here"),
    ],
)
def test_a_worker_that_differs_says_in_what(changes, words, spec):
    refusal = setup_of(spec, **changes).prepare()
    assert (refusal is None) if words is None else (words in refusal and "differs from the coordinator" in refusal)


def test_a_worker_with_other_code_of_the_user_says_so(spec):
    from dataclasses import replace

    from tmrepro.usercode import CodeRecord

    setup = setup_of(spec)
    changed = CodeRecord(dict.fromkeys(setup.code["norm"].files, "0" * 64), setup.code["norm"].distributions)
    refusal = replace(setup, code={"norm": changed}).prepare()
    assert "code of norm.files.tiny_networks.py" in refusal
    assert replace(setup, code={"norm": changed}).key != setup.key


def test_a_worker_reads_data_of_its_own_and_refuses_others(spec, monkeypatch, tmp_path):
    from dataclasses import replace

    from tmrepro.data import load_dataset

    setup = setup_of(spec)
    assert setup.own_data() is None
    monkeypatch.setenv("TMREPRO_WORKER_DATA", str(tmp_path))
    with pytest.raises(UsageError, match="differ from the coordinator's"):
        setup.own_data()
    dataset = load_dataset(setup.spec.data)
    assert replace(setup, fingerprint=dataset.fingerprint).own_data().fingerprint == dataset.fingerprint
