"""The command line. It has no logic: each module parses one command and shows what the library returns.

main.py       the commands, and how an error becomes a message and an exit code; app.py: what all commands share
display.py    progress and results of a run; verdict.py: a verdict; explanations.py: `spec explain`; styles.py: their colours
restart.py    restarts a command whose process has unsuitable settings; streams.py: closed or broken input and output
inspect.py    `figures`, `report`, `stats`; several.py: `ls`, `compare`; update.py: `verify --update`

The other modules have the names of their commands: bench, claims, curvature, diff, doctor, export, new, reference, reproduce,
run, spec, verify, view, worker.
"""

from __future__ import annotations

from tmrepro.cli.main import main

__all__ = ["main"]
