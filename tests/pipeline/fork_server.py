"""Runs the command line in processes of its own that need not import everything anew, and can be hit at a given moment.

Reads requests as lines of JSON, answers each with one. A process is forked from this one, which has imported what a run
needs and computed nothing; it leads a group of its own, and ends as the console script would. `blow` is
(pattern, n, signal): the n-th time that the process is about to touch the disk in a way that fits the pattern, as in
"_replace RUN/statistics.json" (tmrepro.store.atomic), it sends its group that signal.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys

import numpy as np  # noqa: F401 - under the settings of whoever starts this

from tmrepro.determinism import Determinism, prepare

prepare(Determinism("portable", 1))

import tmrepro.pipeline  # noqa: E402, F401 - torch must not load before
from tmrepro.cli import main  # noqa: E402
from tmrepro.store import atomic  # noqa: E402

OPERATIONS = ("_open", "_write", "_fsync", "_mkdir", "_replace")


def _watch_disk(pattern: str, number: int, blow: int) -> None:
    times = 0

    def watched(name, real):
        def call(*arguments):
            nonlocal times
            times += re.search(pattern, f"{name} {arguments[-1]}") is not None
            if times == number:
                times += 1
                os.killpg(0, blow)
            return real(*arguments)

        return call

    for name in OPERATIONS:
        setattr(atomic, name, watched(name, getattr(atomic, name)))


def _child(request: dict, told: int) -> None:
    os.setsid()
    os.close(told)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a script; main() must not mind
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    for path, target in ((os.devnull, 0), (request["out"], 1), (request["err"], 2)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), target)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    sys.argv = ["tmrepro", *request["arguments"]]
    if request["blow"] is not None:
        _watch_disk(*request["blow"])
    main()


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


_serve()
