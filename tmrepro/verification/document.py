"""The JSON of `tmrepro verify --json`, and its schema, which is published as spec/verdict.schema.json.

Each model here takes its fields from the attributes of the record of the same kind in verdict.py, so that the document, its
schema and the record cannot disagree. Every property is always present; null says that there is nothing to say.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import GenerateJsonSchema

from tmrepro.errors import StorageError, TmreproError
from tmrepro.spec.json_text import SCHEMA_DIALECT, dump_json
from tmrepro.statistics.ranges import Scale
from tmrepro.verification.band import Finite
from tmrepro.verification.grades import Grade
from tmrepro.verification.scales import JUDGES_NOTHING
from tmrepro.verification.verdict import Against, Level, Verdict

_GRADES = (
    "identical: bitwise identical; equal: within 1e-4 relative and 1e-6 absolute; consistent: inside the measured band; "
    "different: none of these; litter: a file of another program, nothing else is wrong; damaged: changed or unreadable"
)

Number = Finite | int
Share = Annotated[float, Field(ge=0, le=1)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Document(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, from_attributes=True, json_schema_serialization_defaults_required=True
    )


class BandDocument(_Document):
    """The interval in which the number of another replicate is expected, measured on the reference's replicates."""

    n: Annotated[int, Field(ge=2)] = Field(description="number of replicates")
    mean: Finite = Field(description="their mean, on the scale")
    deviation: Annotated[float, Field(ge=0)] = Field(description="their deviation, on the scale")
    low: Finite = Field(description="lower end, in the unit of the statistic, cut to its range")
    high: Finite = Field(description="upper end, in the unit of the statistic, cut to its range")
    scale: Scale = Field(description="log: measured on natural logarithms; logit: on log(x / (1 - x))")
    judges_nothing: bool = Field(description=f"the band is too wide to find an error: {JUDGES_NOTHING}")


class NumberDocument(_Document):
    """A number that was compared with an expected one."""

    surface: str | None = Field(description="name of the surface; null for a number of minimum.json")
    model: str = Field(description="name of the network")
    name: str = Field(description="name of the statistic, or of the field of minimum.json")
    unit: str = Field(description="its unit; empty for a pure number")
    value: Number | None = Field(description="in the run; null: undefined")
    expected: Number | None = Field(description="in what the run is compared with; null: undefined")
    grade: Grade | None = Field(description=f"{_GRADES}; null: the values differ, and there is no band")
    band: BandDocument | None = Field(description="null: the reference has no band for it")


class PixelsDocument(_Document):
    """The differences of two figures."""

    same_size: bool = Field(description="both figures have the same size")
    identical: bool = Field(description="every pixel is the same")
    share_different: Share = Field(description="of the pixels")
    max_difference: Annotated[int, Field(ge=0, le=255)] = Field(description="of any channel")
    mean_difference: Annotated[float, Field(ge=0, le=255)] = Field(description="over all channels")


class FigureDocument(_Document):
    """A figure that was compared with an expected one."""

    name: str = Field(description="path relative to the run folder")
    against: Against = Field(description="what it is compared with")
    expected_sha256: Digest | None = Field(description="SHA-256 of the expected file; null: missing or unreadable")
    found_sha256: Digest | None = Field(description="SHA-256 of the file in the run; null: missing or unreadable")
    pixels: PixelsDocument | None = Field(description="null: a figure is missing or unreadable")


class CheckDocument(_Document):
    """The result of one check."""

    level: Level = Field(description="the level that the check belongs to")
    against: Against = Field(
        description="what the subject is compared with: its own files, a reference, or a rerun of the spec"
    )
    subject: str = Field(description="what was checked; a file by its path relative to the run folder")
    grade: Grade = Field(description=_GRADES)
    passed: bool = Field(description="the grade is none of different, litter and damaged")
    detail: str = Field(description="the finding, as text")
    numbers: list[NumberDocument] = Field(description="empty if the check compares no numbers")
    figure: FigureDocument | None = Field(description="null if the check compares no figure")


class ProvenanceLineDocument(_Document):
    """A line of both provenances."""

    path: str = Field(description="place in provenance.json, keys joined by dots")
    run: str | None = Field(description="value of the run; null: none")
    expected: str | None = Field(description="value of the other side; null: none")
    differs: bool = Field(description="the values differ; false for times of day and durations")


class ProvenanceDocument(_Document):
    """The provenance of both sides."""

    against: Against | None = Field(description="what the other side is; null: there is none")
    lines: list[ProvenanceLineDocument]


class VerdictDocument(_Document):
    """The output of `tmrepro verify --json`."""

    format: Literal[1] = Field(1, description="version of this format; an incompatible change increases it")
    headline: str = Field(description="the verdict in one line, as text")
    subject: str = Field(description="the run folder or the spec that was verified")
    level: Level | None = Field(None, description="level of the verification; null: there is no verdict")
    reference: str | None = Field(None, description="name of the reference")
    replicate: bool = Field(
        default=False, description="only agreement within the bands was checked, because the seeds differ"
    )
    grade: Grade | None = Field(
        None, description=f"the worst grade of all checks; null: there is no verdict. {_GRADES}"
    )
    passed: bool = Field(default=False, description="no check is different, litter or damaged")
    exit_code: int = Field(
        description="0: verified, 1: different, 2: wrong usage or spec, 3: damaged, missing, litter, 4: not computed"
    )
    same_bits: bool | None = Field(
        None,
        description="whether everything compared with another run is bitwise identical; null: nothing was compared",
    )
    checks: list[CheckDocument] = Field([], description="in the order in which they were made")
    warnings: list[str] = Field(
        [], description="limits of the verdict, and results that should be bitwise identical but are not"
    )
    notes: list[str] = Field([], description="explanations of the checks")
    ungraded_figures: list[FigureDocument] = Field(
        [], description="figures without a grade, because their content may differ; look at them"
    )
    provenance: ProvenanceDocument | None = Field(None, description="null: none was compared, or it is damaged")
    error: str | None = Field(None, description="why there is no verdict; null: there is one")


class _Schema(GenerateJsonSchema):
    """Without titles, which repeat the names of the fields, and without defaults, since every field is always present."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the signature is pydantic's
        return False

    def default_schema(self, schema: Any) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as plain JSON values."""
    return VerdictDocument.model_validate(verdict).model_dump(mode="json")


def error_document(subject: str, error: TmreproError) -> dict[str, Any]:
    """Return the same document for a verification that ended without a verdict."""
    return VerdictDocument(
        headline=f"not verified: {subject}", subject=subject, exit_code=error.exit_code, error=str(error)
    ).model_dump(mode="json")


def verdict_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of both documents."""
    schema = VerdictDocument.model_json_schema(mode="serialization", schema_generator=_Schema)
    return {"$schema": SCHEMA_DIALECT, **schema, "title": "A verdict of tmrepro verify"}


def dump_verdict_schema() -> str:
    """Return the schema as the text of spec/verdict.schema.json."""
    return dump_json(verdict_schema())


def write_json(verdict: Verdict, path: Path) -> None:
    """Write the document to `path`.

    Raises:
        StorageError: `path` cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(verdict_document(verdict), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
