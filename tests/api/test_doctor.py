"""`tmrepro doctor`: what a machine can promise is found by trying, and said in plain words."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

from tmrepro.api import doctor
from tmrepro.api.doctor import examine, known_fingerprints
from tmrepro.numerics.determinism import FOREIGN

COMMAND = "from tmrepro.cli import main; main()"


def command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", COMMAND, "doctor", *arguments],
        env={name: value for name, value in os.environ.items() if not FOREIGN.match(name)} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def diagnosis(tmp_path_factory):
    """This machine, with two threads."""
    return examine(threads=2, folder=tmp_path_factory.mktemp("runs") / "not" / "there" / "yet")


@pytest.fixture
def probe(diagnosis):
    """What a process that computes as it should says."""
    return {"torch": diagnosis.torch, "repeats": True, "fingerprint": dict(diagnosis.fingerprint)}


def words(findings) -> str:
    return "\n".join(f"{finding.name} {finding.status} {finding.found}" for finding in findings)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="portable is promised on x86-64 alone")
def test_this_machine_can_promise_portable(diagnosis):
    assert diagnosis.promise == "portable", words(diagnosis.findings)
    assert diagnosis.exit_code == 0
    assert "one core gives the same bits as all of them" in words(diagnosis.findings)
    assert diagnosis.fingerprint == known_fingerprints()[diagnosis.torch]["2"]


def test_everything_is_looked_at(diagnosis):
    names = [finding.name for finding in diagnosis.findings]
    assert names == [
        "processor", "packages", "threads", "environment", "visible cores", "arithmetic", "GPU", "disk", "commit",
    ]  # fmt: skip
    assert json.loads(json.dumps(diagnosis.document()))["findings"][0]["name"] == "processor"


def test_the_command_says_so_and_names_what_it_replaces():
    done = command(OMP_THREAD_LIMIT="1", MKL_NUM_THREADS="8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "this machine supports portable:" in done.stdout
    assert "MKL_NUM_THREADS, OMP_THREAD_LIMIT: your settings, replaced by tmrepro's" in done.stdout
    assert "OMP_THREAD_LIMIT makes torch give wrong results in other programs" in done.stdout


def test_what_no_machine_has_tried_is_not_promised():
    done = command("--threads", "3", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["exit_code"], document["promise"]) == (1, 1, "machine")
    (failed,) = [finding for finding in document["findings"] if finding["status"] == "failed"]
    assert "no fingerprint of torch" in failed["found"]
    assert "with 3 threads" in failed["found"]
    assert document["threads"] == 3
    assert document["fingerprint"]["sum"] not in {
        known["sum"] for known in known_fingerprints()[document["torch"]].values()
    }


def test_other_bits_than_those_of_other_machines_are_named(probe):
    known = {probe["torch"]: {"2": {**probe["fingerprint"], "exp": "0" * 16, "sum": "1" * 16}}}
    said = words(doctor._arithmetic(probe, probe, threads=2, known=known))
    assert "visible cores ok" in said
    assert f"arithmetic failed not the bits of other machines with torch {probe['torch']}: exp, sum" in said


def test_bits_that_depend_on_the_visible_cores_are_named(probe):
    alone = {**probe, "fingerprint": {**probe["fingerprint"], "sum": "2" * 16}}
    said = words(doctor._arithmetic(alone, probe, threads=2, known=known_fingerprints()))
    assert "visible cores failed one core gives other bits than all of them: sum" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"repeats": False}, "repeating the computation gave other bits (with one visible core)"),
        ({"error": "exit code -4: no message"}, "could not be tried with one visible core: exit code -4"),
    ],
)
def test_a_machine_that_cannot_compute_promises_nothing(probe, change, said, monkeypatch):
    monkeypatch.setattr(doctor, "_probe", lambda threads, cores: probe | change)  # noqa: ARG005 - such a machine isn't at hand
    found = examine(threads=2)
    assert (found.promise, found.exit_code) == ("nothing", 1)
    assert said in words(found.findings)


def test_a_probe_that_dies_is_told_and_not_a_traceback(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert doctor._probe(2, cores=1) == {"error": "exit code 1: no message"}
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert "/nowhere/python" in doctor._probe(2, cores=None)["error"]


def test_other_processors_are_told_what_to_do(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    finding = doctor._processor()
    assert (finding.status, finding.found[:9]) == ("failed", "aarch64: ")
    assert "use 'machine'" in finding.found


def test_a_folder_that_cannot_hold_a_run_is_told(tmp_path):
    if os.geteuid() == 0:
        finding = doctor._disk(doctor.Path("/proc/self/fd"))
    else:
        tmp_path.chmod(0o500)
        finding = doctor._disk(tmp_path / "runs")
    assert finding.status == "note"
    assert "cannot hold a run" in finding.found


def test_a_gpu_is_told_to_promise_less():
    finding = doctor._gpu({"gpus": ["NVIDIA H100"]})
    assert finding.status == "note"
    assert "NVIDIA H100: runs on it give the same bits on such a GPU only" in finding.found
