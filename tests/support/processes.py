"""Whether a process, or a group of processes, has ended or stopped."""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path

import pytest


def is_gone(pid: int) -> bool:
    """Return whether a process has ended, even if nobody has asked for its exit code yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or _after_name(stat)[0] == "Z"


def group_is_gone(group: int) -> bool:
    """Return whether nothing of a process group runs, after waiting a minute for it.

    multiprocessing's tracker, and a worker that only starts, end a moment later.
    """
    for _ in range(1200):
        if not _runs(group):
            return True
        select.select([], [], [], 0.05)
    return False


def _runs(group: int) -> bool:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, leader, *_ = _after_name(stat)
            if int(leader) == group and state != "Z":
                return True
    return False


def wait_until_stopped(pid: int) -> None:
    """Return when a process, which is to get SIGSTOP, has got it."""
    for _ in range(2400):
        if _after_name(Path(f"/proc/{pid}/stat"))[0] == "T":
            return
        select.select([], [], [], 0.05)
    pytest.fail("the process was not stopped")


def _after_name(stat: Path) -> list[str]:
    """Return the fields of /proc/PID/stat after the name: state, parent, group, ..."""
    return stat.read_text(encoding="utf-8").rpartition(")")[2].split()
