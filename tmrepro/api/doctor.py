"""`tmrepro doctor`: tests which level of determinism this machine supports.

The name and the instruction sets of a processor do not determine the bits of results. So a fingerprint is computed under
`portable` determinism, with one visible core and with all cores, and compared with the known one for this version of torch.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from tmrepro.errors import EXIT_DIFFERENT, EXIT_OK
from tmrepro.numerics.determinism import FOREIGN, HARMFUL, REPLACED, Determinism, environment, settled

Status = Literal["ok", "note", "failed"]
Promise = Literal["portable", "machine", "nothing"]

SHIPPED = Path(__file__).parents[1] / "numerics" / "fingerprints.json"
PROBE_SECONDS = 900
SLOW_FLUSH_SECONDS = 0.1

# Version of torch -> threads -> operation -> hash.
Known = Mapping[str, Mapping[str, Mapping[str, str]]]


@dataclass(frozen=True)
class Finding:
    """The result of one check. `failed`: it prevents `portable`; `note`: it is worth knowing."""

    name: str
    status: Status
    found: str


@dataclass(frozen=True)
class Diagnosis:
    """The supported level, and the findings. `fingerprint` is that of one process with all cores; {} if there is none."""

    promise: Promise
    findings: tuple[Finding, ...]
    torch: str
    threads: int
    fingerprint: Mapping[str, str]

    @property
    def exit_code(self) -> int:
        """0 if this machine supports `portable`, else 1."""
        return EXIT_OK if self.promise == "portable" else EXIT_DIFFERENT

    def document(self) -> dict[str, Any]:
        """Return the diagnosis as plain JSON values."""
        return {**asdict(self), "findings": [asdict(finding) for finding in self.findings], "exit_code": self.exit_code}


def known_fingerprints() -> Known:
    """Return the fingerprints under `portable` determinism that are shipped with tmrepro."""
    known: Known = json.loads(SHIPPED.read_text(encoding="utf-8"))
    return known


def examine(*, threads: int = 2, folder: Path | None = None, known: Known | None = None) -> Diagnosis:
    """Test this machine with `threads` threads per process. `folder` is where runs would be written."""
    one_core, all_cores = _probe(threads, cores=1), _probe(threads, cores=None)
    arithmetic = _arithmetic(
        one_core, all_cores, threads=threads, known=known_fingerprints() if known is None else known
    )
    findings = [
        _processor(),
        _packages(all_cores),
        _cores(threads),
        _environment(os.environ, threads=threads),
        *arithmetic,
        _gpu(all_cores),
        _disk(folder or Path.cwd()),
        _git(),
    ]
    if not any(finding.status == "failed" for finding in findings):
        promise: Promise = "portable"
    else:
        promise = (
            "machine"
            if all(probe.get("repeats") and "error" not in probe for probe in (one_core, all_cores))
            else "nothing"
        )
    return Diagnosis(
        promise, tuple(findings), str(all_cores.get("torch", "")), threads, all_cores.get("fingerprint", {})
    )


def _probe(threads: int, *, cores: int | None) -> dict[str, Any]:
    """Return the output of tmrepro.numerics.fingerprint_worker in a separate process; {"error": reason} if it failed."""
    arguments = [str(threads), *([] if cores is None else [str(cores)])]
    command = [sys.executable, "-P", "-m", "tmrepro.numerics.fingerprint_worker", *arguments]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            env=settled(os.environ, environment(Determinism("portable", threads))),
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
        if done.returncode == 0:
            said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            return said
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)}
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return {"error": f"exit code {done.returncode}: {last}"}


def _arithmetic(
    one_core: Mapping[str, Any], all_cores: Mapping[str, Any], *, threads: int, known: Known
) -> list[Finding]:
    """Check that the fingerprint is repeatable, does not depend on visible cores, and is the known one."""
    name = "arithmetic"
    for probe, cores in ((one_core, "with one visible core"), (all_cores, "with all cores")):
        if "error" in probe:
            return [Finding(name, "failed", f"could not be tried {cores}: {probe['error']}")]
        if not probe["repeats"]:
            return [Finding(name, "failed", f"repeating the computation gave other bits ({cores})")]
    found = all_cores["fingerprint"]
    odd = _differing(found, one_core["fingerprint"])
    cores_alike = (
        Finding("visible cores", "ok", "one core gives the same bits as all of them")
        if not odd
        else Finding("visible cores", "failed", f"one core gives other bits than all of them: {', '.join(odd)}")
    )
    release = all_cores["torch"]
    expected = known.get(release, {}).get(str(threads))
    if expected is None:
        what = f"torch {release} with {threads} threads"
        there = "; ".join(f"torch {version} with {', '.join(known[version])}" for version in known)
        return [cores_alike, Finding(name, "failed", f"no fingerprint of {what} comes with tmrepro (known: {there})")]
    odd = _differing(found, expected)
    if odd:
        return [
            cores_alike,
            Finding(name, "failed", f"not the bits of other machines with torch {release}: {', '.join(odd)}"),
        ]
    return [
        cores_alike,
        Finding(name, "ok", f"{len(found)} operations give the bits that other machines give (torch {release})"),
    ]


def _differing(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    return [name for name in dict.fromkeys([*expected, *found]) if found.get(name) != expected.get(name)]


def _processor() -> Finding:
    machine, model, flags = platform.machine(), "unknown", None
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        entries = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
        model, flags = entries.get("model name", model), entries.get("flags", "").split()
    if machine not in {"x86_64", "AMD64"}:
        return Finding(
            "processor", "failed", f"{machine}: 'portable' is promised on x86-64 with AVX2; here, use 'machine'"
        )
    if flags is not None and "avx2" not in flags:
        return Finding("processor", "failed", f"{model} has no AVX2, which 'portable' needs; use 'machine'")
    wider = "; it has AVX-512, which 'portable' leaves unused" if flags and "avx512f" in flags else ""
    return Finding("processor", "ok", f"{model}, x86-64 with AVX2{wider}")


def _packages(probe: Mapping[str, Any]) -> Finding:
    python = platform.python_version()
    build = probe.get("torch_build", "does not load")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy", "matplotlib"))
    return Finding(
        "packages", "ok", f"Python {python}, torch {build}, {versions}, tmrepro {metadata.version('tmrepro')}"
    )


def _cores(threads: int) -> Finding:
    visible = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if visible < threads:
        return Finding("threads", "note", f"{threads} threads on {visible} visible core: the same bits, but slow")
    return Finding(
        "threads", "ok", f"{threads} threads per process, {visible} visible cores; --workers uses more of them"
    )


def _environment(given: Mapping[str, str], *, threads: int) -> Finding:
    """Check the caller's settings of the numerical libraries. The command line replaces them by its own."""
    wanted = settled({}, environment(Determinism("portable", threads)))
    replaced = {name for name, value in given.items() if FOREIGN.match(name) and value != wanted.get(name)}
    replaced |= set(given.get(REPLACED, "").split())
    preloaded = given.get("LD_PRELOAD")
    if not replaced and not preloaded:
        return Finding("environment", "ok", "it has no settings for the numerical libraries")
    told = [f"{', '.join(sorted(replaced))}: your settings, replaced by tmrepro's"] if replaced else []
    told += [f"LD_PRELOAD={preloaded}: this library is loaded first"] if preloaded else []
    told += [f"{name} makes torch give wrong results in other programs" for name in HARMFUL if name in replaced]
    return Finding("environment", "note", "; ".join(told))


def _gpu(probe: Mapping[str, Any]) -> Finding:
    names = probe.get("gpus") or []
    if not names:
        return Finding("GPU", "ok", "none that torch can use; runs use the CPU")
    return Finding(
        "GPU",
        "note",
        f"{', '.join(names)}: runs on it give the same bits on such a GPU only; with --device cpu, on more machines",
    )


def _disk(folder: Path) -> Finding:
    """Check that a file can be created, flushed and renamed there, like every file of a run."""
    while not folder.is_dir():
        folder = folder.parent
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".tmrepro-doctor-") as work:
            begin = time.monotonic()
            with Path(work, "a").open("wb") as file:
                file.write(b"x" * 4096)
                file.flush()
                os.fsync(file.fileno())
            Path(work, "a").replace(Path(work, "b"))
            spent = time.monotonic() - begin
    except OSError as error:
        return Finding("disk", "note", f"{folder} cannot hold a run: {error.strerror or error}")
    free = shutil.disk_usage(folder).free / 2**30
    status: Status = "note" if spent > SLOW_FLUSH_SECONDS or free < 1 else "ok"
    return Finding("disk", status, f"{folder}: flushes a file in {1000 * spent:.1f} ms, {free:.0f} GiB free")


def _git() -> Finding:
    if os.environ.get("TMREPRO_REVISION"):
        return Finding("commit", "ok", f"runs record {os.environ['TMREPRO_REVISION']}, from TMREPRO_REVISION")
    if not (Path(__file__).resolve().parents[2] / ".git").exists():
        return Finding("commit", "ok", "tmrepro is an installed package: runs record its version")
    if shutil.which("git") is None:
        return Finding("commit", "note", "git is missing: runs record no commit; TMREPRO_REVISION can name one")
    return Finding("commit", "ok", "runs record the commit of this checkout")
