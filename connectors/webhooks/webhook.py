"""Signed requests: the body as it was written, signatures over it, and 2xx alone for an answer that means "taken"."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus

from connectors.redis.types import OutboxEntry
from connectors.webhooks.signatures import Signing, signed_headers


@dataclass(frozen=True, slots=True)
class SignedForm:
    signing: Signing = field(repr=False)

    def request(self, entry: OutboxEntry, at_s: float) -> tuple[dict[str, str], bytes]:
        headers = signed_headers(self.signing, entry.id, entry.body, at_s)
        if entry.traceparent:
            headers["traceparent"] = entry.traceparent
        return headers, entry.body

    def outcome(self, status: int, response: bytes) -> str:
        return http_outcome(status)

    def gone(self, status: int, response: bytes) -> str:
        return http_gone(status)


def http_outcome(status: int) -> str:
    return "success" if 200 <= status < 300 else f"http_{status // 100}xx"


def http_gone(status: int) -> str:
    return "the endpoint answered 410 Gone" if status == HTTPStatus.GONE else ""
