"""The body of ``POST /v1/ingest``: an array of usage events, checked as a whole; nothing of a request with a fault is taken.

So a request that was refused can be mended and sent again as it is, and a client need not know which of its events were taken.
The answer names every event with a fault: the first few faults of each.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, RootModel, ValidationError

from schemas.errors import ApiError, BadRequest, field_rules
from schemas.events import UsageEventBody

_FAULTS_OF_EACH_MAX = 5


def _refused(faults: list[dict[str, Any]]) -> BadRequest:
    first = faults[0]
    message = f"event {first['index']}: {first['field']} {first['rule']}"
    if len(faults) > 1:
        message += f"; and {len(faults) - 1} more"
    told: dict[int, list[dict[str, Any]]] = {}
    for fault in faults:
        told.setdefault(fault["index"], []).append(fault)
    return BadRequest(message, errors=[fault for each in told.values() for fault in each[:_FAULTS_OF_EACH_MAX]])


class IngestBody(RootModel[Annotated[list[UsageEventBody], Field(min_length=1)]]):
    """Usage events, 1 to 100 of them. No body at all is no events, and taken as such; an empty array is refused: connectors try
    out their token by one, and expect 400 where the token is right."""

    @staticmethod
    def nothing() -> IngestBody:
        return IngestBody.model_construct(root=[])

    @staticmethod
    def refusal(error: ValidationError) -> ApiError:
        """Names every event that breaks a rule, with the field and the rule."""
        faults = [
            {"index": where[0], "field": ".".join(map(str, where[1:])) or "event", "rule": rule}
            for where, rule in field_rules(error)
            if where
        ]
        return _refused(faults) if faults else BadRequest("the body must be a JSON array of at least one event")
