"""Every way a command of tmrepro can end badly, and the exit code of each.

    TmreproError                 (never raised itself)
    ├── UsageError          2    the command line or the environment asks for something that cannot be
    │   ├── SpecError       2    the spec is wrong: every finding with file, line and column
    │   ├── FieldError      2    a field of the spec does not fit what was found: the data, say
    │   └── LoadedTooEarlyError  2   torch was loaded before determinism could be set
    ├── ArtefactError       3    something that should be there is missing or damaged
    │   ├── DataError       3    a data set is absent, incomplete or altered
    │   └── DamagedError    3    a run folder or reference does not hold the bytes that were written
    └── ComputeError        4    the computation itself could not be done
        ├── CollapsedError  4    a network ended as a constant predictor, whatever the seed
        ├── DivergedError   4    the training loss is no longer finite
        └── StorageError    4    the disk is full, or the folder cannot be written

Exit codes that have no class here: 0 done or verified, 1 verified and different, 70 a bug of ours,
130 interrupted, 143 terminated.
"""

from __future__ import annotations

from dataclasses import dataclass

EXIT_OK = 0
EXIT_DIFFERENT = 1
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class TmreproError(Exception):
    """Base of all errors that a user can cause or meet; `exit_code` is what the process ends with."""

    exit_code: int = EXIT_BUG


class UsageError(TmreproError):
    """The command line, or an argument of the Python API, asks for something that cannot be."""

    exit_code = 2


@dataclass(frozen=True)
class Finding:
    """One thing wrong in a spec. `line` and `column` count from 1."""

    source: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{self.source}:{self.line}:{self.column}: {where}{self.message}"


class SpecError(UsageError):
    """The spec is wrong. `findings` has all of them, in file order."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        super().__init__("\n".join(str(finding) for finding in findings))


class FieldError(UsageError):
    """A field of a readable spec asks for what does not fit the data, or for data that can't be used.

    `location` is where it stands ("models", 0, "kind"); whoever knows the file makes a SpecError of it.
    """

    def __init__(self, location: tuple[str | int, ...], message: str) -> None:
        self.location, self.message = location, message
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
        super().__init__(f"{path}: {message}")


class LoadedTooEarlyError(UsageError):
    """torch was loaded with other settings than `portable` asks for; a process started with `environment` has them."""

    def __init__(self, message: str, environment: dict[str, str]) -> None:
        self.environment = environment
        super().__init__(message)


class ArtefactError(TmreproError):
    """A file or folder that should be there is missing or damaged."""

    exit_code = 3


class DataError(ArtefactError):
    """A data set is absent, incomplete, altered or unreadable."""


class DamagedError(ArtefactError):
    """A run folder or a reference does not hold the bytes that were written."""


class ComputeError(TmreproError):
    """The computation could not be done: out of memory, device lost, and the subclasses."""

    exit_code = 4


class CollapsedError(ComputeError):
    """A network ended as a constant predictor with every seed it was given."""


class DivergedError(ComputeError):
    """The training loss became nan or inf."""


class StorageError(ComputeError):
    """The run folder cannot be written (disk full, read-only, another file system error), or too many files are open."""
