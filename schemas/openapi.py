"""The OpenAPI 3.1 document, made from the same models that check requests and shape answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter

from schemas.common import NoBody
from schemas.errors import ErrorBody

_REF = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"\{(\w+)\}")
_STATUSES = {
    "400": "The request breaks a rule that the message names.",
    "401": "No valid token.",
    "404": "An id that does not exist.",
    "409": "A key that is taken, or an Idempotency-Key that is in use.",
    "413": "The body is too large.",
    "501": "A part of the API that is not supported yet.",
    "503": "Kafka or Redis cannot be reached.",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """``body``, ``answer``: None = none. ``open``: needs no token. ``media_type``: of the answer."""

    method: str
    path: str
    summary: str
    tag: str
    description: str = ""
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answer: Any = None
    open: bool = False
    media_type: str = "application/json"

    @property
    def id(self) -> str:
        return re.sub(r"\W+", "_", f"{self.method.lower()}{self.path}").strip("_")


def document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """Every operation, with its schemas as components."""
    inputs: list[tuple[tuple[str, str], Any, TypeAdapter[Any]]] = [(("", "error"), "serialization", TypeAdapter(ErrorBody))]
    for operation in operations:
        if operation.body is not None:
            inputs.append(((operation.id, "body"), "validation", TypeAdapter(operation.body)))
        if operation.query is not None:
            inputs.append(((operation.id, "query"), "validation", TypeAdapter(operation.query)))
        if operation.answer is not None:
            inputs.append(((operation.id, "answer"), "serialization", TypeAdapter(operation.answer)))
    by_input, definitions = TypeAdapter.json_schemas(inputs, ref_template=_REF)
    schemas = {key: schema for (key, _), schema in by_input.items()}
    components: dict[str, Any] = dict(definitions.get("$defs", {}))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "tidemark", "version": version, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation, schemas: Mapping[tuple[str, str], Any], components: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in _path_names(operation)),
            *_query_parameters(schemas.get((operation.id, "query"), {}), components),
        ],
        "responses": {"200": _answer(operation, schemas)},
    }
    if operation.description:
        described["description"] = operation.description
    if operation.body is not None:
        schema = schemas[operation.id, "body"]
        described["requestBody"] = {
            "required": operation.body is not NoBody,
            "content": {"application/json": {"schema": schema}},
        }
    if operation.open:
        described["security"] = []
        return described
    if operation.method == "POST":
        described["parameters"].append(
            {"name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string", "maxLength": 255}}
        )
    error = {"content": {"application/json": {"schema": schemas["", "error"]}}}
    described["responses"] |= {status: {"description": text, **error} for status, text in _STATUSES.items()}
    return described


def _path_names(operation: Operation) -> list[str]:
    return _PARAMETER.findall(operation.path)


def _answer(operation: Operation, schemas: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    if operation.answer is None:
        return {"description": "Done; the body is empty."}
    return {"description": "Done.", "content": {operation.media_type: {"schema": schemas[operation.id, "answer"]}}}


def _query_parameters(schema: Mapping[str, Any], components: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An array is sent as one text with commas."""
    if "$ref" in schema:
        schema = components[schema["$ref"].rsplit("/", 1)[-1]]
    required = schema.get("required", [])
    parameters = []
    for name, field in schema.get("properties", {}).items():
        parameter = {"name": name, "in": "query", "required": name in required, "schema": field}
        if field.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        parameters.append(parameter)
    return parameters
