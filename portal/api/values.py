"""What every value that a caller gives must be."""

from typing import Any

from ninja import Schema
from pydantic import ConfigDict, field_validator
from pydantic_core import PydanticCustomError


class Given(Schema):
    """Values from outside. Text holds no NUL: no database, file name or XML can keep one."""

    @field_validator("*", mode="after")
    @classmethod
    def _without_nul(cls, value: Any) -> Any:
        if isinstance(value, str) and "\0" in value:
            raise PydanticCustomError("nul_in_text", "Text may not hold NUL characters")
        return value


class Body(Given):
    """A body in JSON: what nobody knows is refused, so that a misspelt field is not lost in silence."""

    model_config = ConfigDict(extra="forbid")
