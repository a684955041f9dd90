"""Two builds of one commit are one image. It builds twice, from nothing; BASE names another base, as for docker/build."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def can_build() -> bool:
    docker = (
        shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    )
    return bool(docker or shutil.which("buildah"))


@pytest.mark.soak
@pytest.mark.skipif(not can_build(), reason="needs a running docker, or buildah and podman")
def test_two_builds_of_a_commit_have_the_same_digest():
    found = subprocess.run([ROOT / "docker" / "twice"], capture_output=True, text=True, check=False)
    sys.stdout.write(found.stdout)
    assert found.returncode == 0, found.stdout + found.stderr[-2000:]
    first, second = (line.split(": ", 1)[1] for line in found.stdout.splitlines() if line.startswith("build "))
    assert first == second != ""
