"""What every value that a caller gives must be."""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from django.utils import timezone
from ninja import Schema
from pydantic import AfterValidator, ConfigDict, GetJsonSchemaHandler, field_validator
from pydantic_core import CoreSchema, PydanticCustomError

NULL = {"type": "null"}


def _in_utc(value: datetime) -> datetime:
    """At the ends of time the same moment has no date in another time zone, and databases keep only one zone."""
    try:
        return (value if timezone.is_aware(value) else timezone.make_aware(value)).astimezone(UTC)
    except OverflowError as error:
        raise PydanticCustomError("no_moment", "This moment is outside the years 1 to 9999") from error


Moment = Annotated[datetime, AfterValidator(_in_utc)]


class Given(Schema):
    """Values from outside. Text holds no NUL: no database, file name or XML can keep one."""

    # What the operation refuses to do without, in words that help; the document of the API says so beforehand.
    NEEDED: ClassVar[tuple[str, ...]] = ()

    @field_validator("*", mode="after")
    @classmethod
    def _without_nul(cls, value: Any) -> Any:
        if isinstance(value, str) and "\0" in value:
            raise PydanticCustomError("nul_in_text", "Text may not hold NUL characters")
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Says what the checks above and behind it will refuse."""
        schema = handler(core_schema)
        described = handler.resolve_ref_schema(schema)
        for name, value in described.get("properties", {}).items():
            if name in cls.NEEDED:
                _never_null(value)
                if value.get("type") == "string" and "format" not in value:
                    value["minLength"] = 1
            for kind in (value, *value.get("anyOf", ())):
                if kind.get("type") == "string" and not {"format", "enum", "const"} & set(kind):
                    kind["pattern"] = r"^[^\u0000]*$"
        if cls.NEEDED:
            described["required"] = sorted({*described.get("required", ()), *cls.NEEDED})
        return schema


class Body(Given):
    """A body in JSON: what nobody knows is refused, so that a misspelt field is not lost in silence."""

    model_config = ConfigDict(extra="forbid")


class Change(Body):
    """A body of changes: what is absent stays as it is, and null is no value except where it is named here."""

    MAY_BE_NULL: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        for name, value in handler.resolve_ref_schema(schema).get("properties", {}).items():
            if name not in cls.MAY_BE_NULL:
                _never_null(value)
        return schema


def _never_null(value: dict[str, Any]) -> None:
    """Describe a value that may not be null, or that does without its default."""
    value.pop("default", None)
    if NULL in value.get("anyOf", ()):
        kinds = [kind for kind in value.pop("anyOf") if kind != NULL]
        value.update(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})
