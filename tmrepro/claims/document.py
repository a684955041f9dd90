"""claims.yaml: the claims of the paper, as data. It is parsed with positions and validated; nothing in it is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, Strict, ValidationError, model_validator

from tmrepro.errors import Finding, SpecError, UsageError
from tmrepro.spec.document import MAX_BYTES, first_findings, read_document
from tmrepro.spec.fields import Name, Section, contradiction
from tmrepro.spec.messages import Problem, did_you_mean, problems
from tmrepro.spec.shipped import shipped_folder
from tmrepro.spec.user_paths import user_path
from tmrepro.statistics import MINIMUM_NUMBERS, STATISTICS

CLAIMS = "claims.yaml"
VERSION = 1

# Numbers that a network may never reach. If such an epoch or time is null, it counts as later than any other.
REACHED = frozenset(
    {f"{what}_first_{unit}" for what in ("lm", "gm", "validation") for unit in ("epoch", "seconds")}
    | {"epochs_from_lm_to_gm"}
)
# Derived from history.csv at the epoch of the first LM, and from both first epochs (docs/explanation/claims.md).
DERIVED = ("epochs_from_lm_to_gm", "train_loss_at_lm", "validation_loss_at_lm", "validation_accuracy_at_lm")
OF_SURFACES = frozenset(info.name for info in STATISTICS)
OF_TRAINING = frozenset({*(info.name for info in MINIMUM_NUMBERS), *DERIVED})


def _known(name: str) -> str:
    known = (*sorted(OF_SURFACES), *sorted(OF_TRAINING))
    if name not in known:
        hint = did_you_mean(name, known) or "; docs/reference/statistics.md and docs/explanation/claims.md list them"
        raise contradiction(f"unknown statistic {name!r:.80}{hint}", at=())
    return name


def _known_version(version: int) -> int:
    if version != VERSION:
        raise contradiction(f"must be {VERSION}, the only version of the format so far (got {version})", at=())
    return version


Statistic = Annotated[str, AfterValidator(_known)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
Identifier = Annotated[str, Field(min_length=1, max_length=80)]


class ClaimLine(Section):
    """One comparison: `statistic` of the network `larger` is larger than that of `smaller`, `factor` times as large."""

    id: Identifier
    sentence: Text
    statistic: Statistic
    larger: Name
    smaller: Name
    factor: Annotated[float, Field(ge=1, le=1000)] = 1.0

    @model_validator(mode="after")
    def _compares_two(self) -> ClaimLine:
        if self.larger == self.smaller:
            raise contradiction(f"must be another network than larger ({self.larger})", at=("smaller",))
        return self


class Claim(Section):
    """A sentence of the paper, either with lines that are tested, or true by construction with measured values beside it."""

    id: Identifier
    section: Text
    sentence: Text
    by_construction: Text | None = None
    measured: Annotated[tuple[Statistic, ...], Strict(strict=False)] = ()
    lines: Annotated[tuple[ClaimLine, ...], Strict(strict=False)] = ()

    @model_validator(mode="after")
    def _is_tested_or_explained(self) -> Claim:
        if bool(self.lines) == (self.by_construction is not None):
            raise contradiction("a claim has either lines or by_construction", at=("id",))
        if self.lines and self.measured:
            raise contradiction(
                "belongs to by_construction; a claim with lines measures what they say", at=("measured",)
            )
        for index, line in enumerate(self.lines):
            if not line.id.startswith(f"{self.id}."):
                raise contradiction(f"must begin with {self.id}. (got {line.id!r})", at=("lines", index, "id"))
        return self


class Claims(Section):
    """All claims of a paper."""

    version: Annotated[int, AfterValidator(_known_version)]
    claims: Annotated[tuple[Claim, ...], Strict(strict=False), Field(min_length=1)]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Claims:
        seen: set[str] = set()
        for index, claim in enumerate(self.claims):
            for at, name in [(("id",), claim.id), *((("lines", n, "id"), one.id) for n, one in enumerate(claim.lines))]:
                if name in seen:
                    raise contradiction(f"appears twice ({name!r})", at=("claims", index, *at))
                seen.add(name)
        return self

    @property
    def lines(self) -> tuple[tuple[Claim, ClaimLine], ...]:
        """Return every line with its claim, in the order of the file."""
        return tuple((claim, line) for claim in self.claims for line in claim.lines)


def shipped_claims() -> Path:
    """Return the file of the paper's claims inside the package."""
    return shipped_folder() / "paper" / CLAIMS


def load_claims(path: Path | str | None = None) -> Claims:
    """Return the claims in the YAML file `path`, by default those of the paper.

    Raises:
        SpecError: the file cannot be read, or is invalid. The error has all findings and their lines.
    """
    source = str(path) if path is not None else f"paper/{CLAIMS}"
    try:
        with (user_path(path) if path is not None else shipped_claims()).open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode("utf-8-sig")
    except (OSError, UsageError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError([Finding(source, 1, 1, "", f"cannot be read: {reason}")]) from error
    return parse_claims(text, source=source)


def parse_claims(text: str, *, source: str = "<string>") -> Claims:
    """Return the claims in the YAML `text`. Each finding begins with `source`.

    Raises:
        SpecError: they are invalid. The error has all findings and their lines.
    """
    document = read_document(text, source=source)
    found: list[Problem] = []
    claims: Claims | None = None
    try:
        claims = Claims.model_validate(document.root.plain())
    except ValidationError as error:
        found = problems(error, root=Claims)
    located = [document.find(location, message) for location, message in found]
    findings = [*document.findings, *(finding for finding in located if finding is not None)]
    if findings or claims is None:
        raise SpecError(first_findings(list(dict.fromkeys(findings))))
    return claims
