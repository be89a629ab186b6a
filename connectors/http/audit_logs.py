"""/v1/auditLogs"""

from __future__ import annotations

from typing import Literal, NamedTuple

import orjson

from connectors.http.audit import oldest_ms
from connectors.http.pages import decode_cursor, encode_cursor
from connectors.http.routing import Call, Route, route
from connectors.redis.audit import AuditLog
from schemas.audit_logs import AuditLogEntry, AuditLogQuery, audit_answer
from schemas.common import NoBody, Page
from schemas.errors import BadRequest

_Sort = Literal["date_asc", "date_desc"]


CLOCKS_APART_MS_MAX = 60_000
"""Redis servers of one cluster are taken to agree on the time this well."""


class _Position(NamedTuple):
    """Where a reader stands: the bounds it asked for (``start_ms``, ``end_ms``), those of what it has not been given yet, and
    within them the last entry that it was given of a stream."""

    sort: _Sort
    start_ms: int
    end_ms: int | None
    from_ms: int
    until_ms: int | None
    after: dict[str, str]

    def advanced(self, after: dict[str, str]) -> _Position:
        """``after``: of every stream that the reader was given something of. Bounds replace positions where they say the same, so
        that a cursor stays short however many streams there are.

        Oldest first, an entry that is still to come is no older than the newest one given, but for differences of clocks. Newest
        first, whatever is older than the oldest one given has not been given."""
        times = {place: int(position.partition("-")[0]) for place, position in after.items()}
        if not times:
            return self
        if self.sort == "date_desc":
            oldest = min(times.values())
            kept = {place: position for place, position in after.items() if times[place] == oldest}
            return self._replace(until_ms=oldest + 1, after=kept)
        floor = max(times.values()) - CLOCKS_APART_MS_MAX
        kept = {place: position for place, position in after.items() if times[place] >= floor}
        return self._replace(from_ms=max(self.from_ms, floor), after=kept)

    def cursor(self) -> str:
        return encode_cursor(
            self.sort, self.start_ms, self.end_ms or 0, self.from_ms, self.until_ms or 0, orjson.dumps(self.after).decode()
        )


def _position(query: AuditLogQuery) -> _Position:
    """Parameters of the first page may be sent again with the cursor, as the official client's iterator does."""
    decoded = decode_cursor(query.next_page, (str, int, int, int, int, str))
    bounds = query.bounds_ms()
    if decoded is None:
        return _Position(query.sort or "date_asc", *bounds, *bounds, {})
    sort, start_ms, end_ms, from_ms, until_ms, after = decoded
    if query.sort not in (None, sort):
        raise BadRequest("sort: cannot change from page to page")
    bounded = query.starting_on is not None or query.ending_before is not None
    if bounded and bounds != (start_ms, end_ms or None):
        raise BadRequest("next_page: starting_on and ending_before cannot change from page to page")
    return _Position(
        "date_desc" if sort == "date_desc" else "date_asc",
        int(start_ms),
        int(end_ms) or None,
        int(from_ms),
        int(until_ms) or None,
        orjson.loads(str(after)),
    )


async def list_all(call: Call[NoBody, AuditLogQuery]) -> Page[AuditLogEntry]:
    """There is always a next page, for a reader that wants to go on from here later. It misses no entry, whatever streams entries
    come in on meanwhile."""
    query, services = call.query, call.services
    position = _position(query)
    after = dict(position.after)
    data: list[AuditLogEntry] = []
    from_ms = max(position.from_ms, oldest_ms(services))
    log = AuditLog(services.redis, services.partitions)
    async for entry in log.read(from_ms, position.until_ms, after, newest_first=position.sort == "date_desc"):
        if query.wants(entry.fields):
            if len(data) == query.limit:
                break
            data.append(audit_answer(entry.fields, entry.at_ms))
        after[entry.place] = entry.position
    return Page(data=data, next_page=position.advanced(after).cursor())


ROUTES: list[Route] = [route("GET", "/v1/auditLogs", list_all, "List the audit log")]
