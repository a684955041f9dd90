"""What all sections of the spec share: strict frozen models, common types, and the source of each value.

Every field has `stated(section)`, the paper's section that gives it, or `chosen(reason)`, the reason for our choice. Both
are in the JSON Schema and in the output of `tmrepro spec explain`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

NAME_PATTERN = "^[a-z0-9][a-z0-9_-]{0,63}$"
TRAINED_NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}(\.r[1-9][0-9]{0,3})?$"
# The hash of a spec is that of its RFC 8785 form, whose numbers are doubles: larger integers have no canonical form.
LARGEST_INTEGER = 2**53 - 1

Location = tuple[str | int, ...]


class Section(BaseModel):
    """A mapping of the spec. It has no unknown keys, no text or bool for a number, and no nan, and it cannot be changed."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def stated(section: str) -> Any:
    """Return the metadata of a field that, or whose default, is in a section of the paper."""
    return Field(json_schema_extra={"paper": section})


def chosen(reason: str, **schema: str | int) -> Any:
    """Return the metadata of a field that, or whose default, is our choice. `schema` adds JSON Schema keywords."""
    return Field(json_schema_extra={"reason": reason, **schema})


def contradiction(message: str, *, at: Location) -> PydanticCustomError:
    """Return the error of a section's validator for fields that do not fit together. `at` is the invalid field."""
    return PydanticCustomError("contradiction", "{message}", {"message": message, "at": at})


def _without_sign_of_zero(number: float) -> float:
    return number + 0.0  # -0.0 and 0.0 are equal and have one hash, so both must be written as 0.0


Name = Annotated[str, Field(pattern=NAME_PATTERN)]
TrainedName = Annotated[str, Field(pattern=TRAINED_NAME_PATTERN)]  # of a model, or of a replicate of one
Seed = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
PositiveInteger = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
PositiveNumber = Annotated[float, Field(gt=0)]
NonNegativeNumber = Annotated[float, Field(ge=0), AfterValidator(_without_sign_of_zero)]
Decay = Annotated[float, Field(ge=0, lt=1), AfterValidator(_without_sign_of_zero)]
