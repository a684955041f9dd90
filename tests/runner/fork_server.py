"""Runs the command line in processes of its own that need not import everything anew, and meet trouble at a given moment.

Reads requests as lines of JSON, answers each with one. A process is forked from this one, which has imported what a run
needs and computed nothing; it leads a group of its own, and ends as the console script would. What it does to the disk
(tmrepro.store.atomic, the lock, its own beginning and end) is a sequence of operations, each known by its name and path,
as in "_replace RUN/statistics.json". A request may ask for

    blow    [pattern, n, signal, seconds]: so many seconds after the process is about to do the n-th operation that fits the
            pattern, its group gets that signal; with 0 seconds, instead of the operation
    fail    [n, errno, for ever]: the n-th operation, or each from the n-th on, fails, half of it done
    log     a file that gets a line for each operation: seconds, name and path; and one for whatever else is done to
            files in a writing way, which begins with "unwatched"
    files   how many files the process may have open
    later   seconds to wait before it begins
"""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import select
import signal
import sys
import time
from pathlib import Path

import numpy as np  # noqa: F401 - under the settings of whoever starts this

from tmrepro.numerics.determinism import Determinism, prepare

prepare(Determinism("portable", 1))

# torch must not load before; the rest is what a run of digits loads on its way
import fontTools.subset  # noqa: E402, F401
import gudhi  # noqa: E402, F401
import matplotlib.backends.backend_agg  # noqa: E402
import matplotlib.backends.backend_pdf  # noqa: E402, F401
import sklearn.datasets  # noqa: E402, F401
import torch._dynamo  # noqa: E402, F401 - the first optimizer of a process loads it

import tmrepro.cli.display  # noqa: E402
import tmrepro.runner  # noqa: E402, F401
from tmrepro.cli import main  # noqa: E402
from tmrepro.store import atomic, lock  # noqa: E402

prepare(Determinism("portable", 1))  # scikit-learn has changed the environment, for which a command would start again

OPERATIONS = ("_open", "_write", "_fsync", "_mkdir", "_replace", "_remove", "_rmdir")
WRITING = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree"}


class Disk:
    """Counts the operations of this process, and does to them what the request asks for."""

    def __init__(self, request: dict) -> None:
        self.blow, self.fail = request["blow"], request["fail"]
        self.log = None if request["log"] is None else os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.operations = self.fitting = 0
        self.inside = False
        self.killer = None if self.blow is None or self.blow[3] == 0 else _killer(*self.blow[2:])
        for name in OPERATIONS:
            setattr(atomic, name, self.watched(name, getattr(atomic, name)))
        lock.FileLock.acquire = self.watched("_lock", lock.FileLock.acquire)
        if self.log is not None:
            sys.addaudithook(self.overheard)

    def watched(self, name, real):
        def call(*arguments, **options):
            outermost, self.inside = not self.inside, True
            try:
                if outermost:
                    self.touch(name, arguments)
                return real(*arguments, **options)
            finally:
                self.inside = not outermost

        return call

    def touch(self, name: str, arguments: tuple = ()) -> None:
        what = f"{name} {_place(name, arguments)}"
        self.operations += 1
        if self.log is not None:
            os.write(self.log, f"{time.monotonic()} {what}\n".encode())
        if self.blow is not None and re.search(self.blow[0], what):
            self.fitting += 1
            if self.fitting == self.blow[1]:
                self.strike()
        if self.fail is not None and arguments:
            number, error, for_ever = self.fail
            if self.operations == number or (for_ever and self.operations > number):
                _do_half(name, arguments)
                raise OSError(error, os.strerror(error))

    def strike(self) -> None:
        if self.killer is None:
            os.killpg(0, self.blow[2])
        else:
            os.write(self.killer, b"!")

    def overheard(self, event: str, arguments: tuple) -> None:
        flags = arguments[2] if event == "open" else 0
        writing = event in WRITING or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writing and not self.inside:
            os.write(self.log, f"unwatched {event} {arguments[0]}\n".encode())


def _place(name: str, arguments: tuple) -> object:
    match name, arguments:
        case "_lock", (held, *_):
            return held.lock_file
        case "_replace", (_, target):
            return target
        case _, (int() as descriptor, *_):
            return Path(f"/proc/self/fd/{descriptor}").readlink()
        case _:
            return arguments[0] if arguments else ""


def _do_half(name: str, arguments: tuple) -> None:
    """What a failing operation may have done before it failed."""
    match name, arguments:
        case "_write", (descriptor, data):
            os.write(descriptor, data[: len(data) // 2])
        case "_remove", (folder,) if folder.is_dir():
            files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
            for path in files[: len(files) // 2]:
                path.unlink()


def _killer(number: int, seconds: float) -> int:
    """Start a process which sends this one's group a signal, so long after a byte was written to the returned descriptor."""
    told, tell = os.pipe()
    group = os.getpgid(0)
    if os.fork() != 0:
        os.close(told)
        return tell
    os.setsid()
    os.close(tell)
    # Nothing to read, but readable: the process has ended before.
    if os.read(told, 1) and not select.select([told], [], [], seconds)[0]:
        os.killpg(group, number)
    os._exit(0)


def _child(request: dict, told: int) -> None:
    os.setsid()
    os.close(told)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a script; main() must not mind
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    for path, target in ((os.devnull, 0), (request["out"], 1), (request["err"], 2)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, target)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    sys.argv = ["tmrepro", *request["arguments"]]
    disk = Disk(request)
    if request["files"] is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (request["files"], request["files"]))
    time.sleep(request["later"])
    disk.touch("begin")
    try:
        main()
    finally:
        disk.touch("end")


def _serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = {"code": os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])}
        else:
            leads_its_group, told = os.pipe()
            process = os.fork()
            if process == 0:
                os.close(leads_its_group)
                _child(request, told)
            os.close(told)
            os.read(leads_its_group, 1)
            os.close(leads_its_group)
            answer = {"pid": process}
        print(json.dumps(answer), flush=True)  # noqa: T201


gc.freeze()  # else each child would copy all of this memory only to count what is in it
_serve()
