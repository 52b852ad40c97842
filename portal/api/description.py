"""What the API's own document says of every operation: all its answers, refusals as well."""

from typing import Any

from ninja import Field, NinjaAPI, Schema
from ninja.openapi.schema import REF_TEMPLATE, OpenAPISchema

RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which a second attempt makes sense.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    }
}
CHALLENGE = {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}}

# Lists and creations that do not exist for whoever does not see what they are about.
HIDDEN = (
    "/users",
    "/groups",
    "/lock-outs",
    "/roles",
    "/settings",
    "/shifts",
    "/system/permissions",
    "/candidates",
    "/system/access",
)


class Problem(Schema):
    field: str | None = Field(description="the field it is about; null for the request as a whole")
    message: str


class Error(Schema):
    """The one shape of every refusal."""

    error: str = Field(description="for programs", pattern="^[A-Z][A-Z_]*$")
    message: str = Field(description="for people, in their language", min_length=1)
    details: list[Problem] = Field(min_length=1)


def _refusal(description: str, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": REF_TEMPLATE.format(model="Error")}}}
    return {"description": description, "content": content} | ({"headers": headers} if headers else {})


REFUSALS = {
    "BadRequest": _refusal("The request could not be understood, or a value is not allowed."),
    "Unauthenticated": _refusal("The token is missing, unknown or has ended.", CHALLENGE),
    "WrongCredentials": _refusal("The user name or the password is wrong."),
    "Forbidden": _refusal("It can be seen, but this may not be done to it; or the token was made for less."),
    "NotFound": _refusal("It is not there, or may not be seen."),
    "Conflict": _refusal("A rule or the present state stands against it."),
    "TooLarge": _refusal("The body is too large."),
    "InvalidFields": _refusal("Fields have the wrong type, are missing or unknown."),
    "TooMany": _refusal("Too many requests, or too many sign-ins that failed.", RETRY_AFTER),
    "Busy": _refusal("It cannot be done this moment.", RETRY_AFTER),
}


class DescribedAPI(NinjaAPI):
    """Its document is complete without a word about refusals at any route."""

    def get_openapi_schema(self, **where: Any) -> OpenAPISchema:
        document = super().get_openapi_schema(**where)
        document.add_schema_definitions(_error())
        document["components"]["responses"] = REFUSALS
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                _describe_parameters(operation["parameters"])
                refused = {
                    status: {"$ref": f"#/components/responses/{name}"}
                    for status, name in _refusals(method, path, operation).items()
                }
                operation["responses"] = dict(sorted((refused | operation["responses"]).items()))
        return document


def _error() -> dict[str, Any]:
    schema = Error.model_json_schema(ref_template=REF_TEMPLATE)
    return {**schema.pop("$defs"), "Error": schema}


def _refusals(method: str, path: str, operation: dict[str, Any]) -> dict[int, str]:
    """The refusals of an operation by their status; 400, 413, 429 and 503 can come before any route is asked."""
    found = {400: "BadRequest", 413: "TooLarge", 429: "TooMany", 503: "Busy"}
    with_token, changes = "security" in operation, method != "get"
    found[401] = "Unauthenticated" if with_token else "WrongCredentials"
    if with_token:
        found[403] = "Forbidden"
    if changes:
        found[409] = "Conflict"
    if "{" in path or path.endswith(HIDDEN):
        found[404] = "NotFound"
    if "requestBody" in operation or any(one["in"] != "path" for one in operation["parameters"]):
        found[422] = "InvalidFields"
    return found


def _describe_parameters(parameters: list[dict[str, Any]]) -> None:
    """Addresses and headers know no null, and no number below zero leads to a route."""
    for one in parameters:
        schema = one["schema"]
        kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
        if len(kinds) == 1:
            del schema["anyOf"]
            schema.update(kinds[0])
        if one["in"] == "path" and schema.get("type") == "integer":
            schema["minimum"] = 0
