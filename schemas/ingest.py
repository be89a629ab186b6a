"""The body of ``POST /v1/ingest``: an array of usage events, checked as a whole; nothing of a request with a fault is taken."""

from __future__ import annotations

from typing import Any

from pydantic import RootModel, ValidationError

from schemas.errors import ApiError, BadRequest, field_rules
from schemas.events import UsageEventBody
from schemas.timestamps import parse_timestamp

_ERRORS_MAX = 100
_HOUR_US = 3_600_000_000


def _refused(faults: list[dict[str, Any]]) -> BadRequest:
    first = faults[0]
    message = f"event {first['index']}: {first['field']} {first['rule']}"
    if len(faults) > 1:
        message += f"; and {len(faults) - 1} more"
    return BadRequest(message, errors=faults[:_ERRORS_MAX])


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
        return _refused(faults) if faults else BadRequest("the body must be a JSON array of events")

    def check_age(self, now_us: int, age_max_days: int, ahead_max_hours: int) -> None:
        """Raises BadRequest for events that the worker would reject for their age: a success would hide that they never count."""
        faults: list[dict[str, Any]] = []
        for index, event in enumerate(self.root):
            timestamp_us = parse_timestamp(event.timestamp)
            assert timestamp_us is not None, "checked by the model"
            if now_us - timestamp_us > age_max_days * 24 * _HOUR_US:
                faults.append({"index": index, "field": "timestamp", "rule": f"must not be more than {age_max_days} days ago"})
            elif timestamp_us - now_us > ahead_max_hours * _HOUR_US:
                faults.append(
                    {"index": index, "field": "timestamp", "rule": f"must not be more than {ahead_max_hours} hours ahead"}
                )
        if faults:
            raise _refused(faults)
