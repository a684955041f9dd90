"""All errors of tmrepro, with the exit code of each.

    TmreproError                 (never raised directly)
    ├── UsageError          2    the command line, an argument or the environment is invalid
    │   ├── SpecError       2    the spec is invalid; every finding has file, line and column
    │   ├── FieldError      2    a field of the spec does not fit, for example, the data
    │   └── LoadedTooEarlyError  2   torch was imported before determinism could be set
    ├── ArtefactError       3    a file or folder is missing or damaged
    │   ├── DataError       3    a data set is missing, incomplete or changed
    │   └── DamagedError    3    a run folder or reference is missing or damaged
    └── ComputeError        4    the computation failed
        ├── CollapsedError  4    a network became a constant predictor with every seed
        ├── DivergedError   4    the training loss is not finite
        └── StorageError    4    the disk is full, or the folder is not writable

Exit codes without a class: 0 done or verified, 1 verified and different, 70 a bug in tmrepro,
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
    """Base class of all errors that a user can cause. `exit_code` is the exit code of the command line."""

    exit_code: int = EXIT_BUG


class UsageError(TmreproError):
    """The command line, or an argument of the Python API, is invalid."""

    exit_code = 2


@dataclass(frozen=True)
class Finding:
    """An error in a spec. `line` and `column` count from 1."""

    source: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{self.source}:{self.line}:{self.column}: {where}{self.message}"


class SpecError(UsageError):
    """The spec is invalid. `findings` has all errors, in file order."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        super().__init__("\n".join(str(finding) for finding in findings))


class FieldError(UsageError):
    """A field of a valid spec does not fit the data, or its data cannot be used.

    `location` is the path of the field, such as ("models", 0, "kind"). A caller that knows the file raises a SpecError instead.
    """

    def __init__(self, location: tuple[str | int, ...], message: str) -> None:
        self.location, self.message = location, message
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
        super().__init__(f"{path}: {message}")


class LoadedTooEarlyError(UsageError):
    """torch was imported without the settings that `portable` needs. A process started with `environment` has them."""

    def __init__(self, message: str, environment: dict[str, str]) -> None:
        self.environment = environment
        super().__init__(message)


class ArtefactError(TmreproError):
    """A file or folder is missing or damaged."""

    exit_code = 3


class DataError(ArtefactError):
    """A data set is missing, incomplete, changed or unreadable."""


class DamagedError(ArtefactError):
    """A run folder or a reference is missing, or differs from what was written."""


class ComputeError(TmreproError):
    """The computation failed: out of memory, device lost, or one of the subclasses."""

    exit_code = 4


class CollapsedError(ComputeError):
    """A network became a constant predictor with every seed."""


class DivergedError(ComputeError):
    """The training loss is nan or inf."""


class StorageError(ComputeError):
    """The run folder is not writable (disk full, read-only, another file system error), or too many files are open."""
