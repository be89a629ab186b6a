"""The body of ``POST /v1/ingest``: an array of usage events, checked as a whole; nothing of a request with a fault is taken."""

from __future__ import annotations

from pydantic import RootModel, ValidationError

from schemas.errors import ApiError, BadRequest, field_rules
from schemas.events import UsageEventBody

_ERRORS_MAX = 100


class IngestBody(RootModel[list[UsageEventBody]]):
    """Usage events, 1 to 100 of them. An empty body is an empty array."""

    @staticmethod
    def refusal(error: ValidationError) -> ApiError:
        """Names every event that breaks a rule, with the field and the rule."""
        faults = [
            {"index": where[0], "field": ".".join(map(str, where[1:])) or "event", "rule": rule}
            for where, rule in field_rules(error)
            if where
        ]
        if not faults:
            return BadRequest("the body must be a JSON array of events")
        first = faults[0]
        message = f"event {first['index']}: {first['field']} {first['rule']}"
        if len(faults) > 1:
            message += f"; and {len(faults) - 1} more"
        return BadRequest(message, errors=faults[:_ERRORS_MAX])
