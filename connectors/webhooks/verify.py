"""For receivers: is this request really from us, and fresh?

    verify(secret, request.headers, await request.read())      # raises VerificationError

Give it the exact bytes that arrived, never a body that was parsed and written again. Comparisons take constant time.
A valid request may still be a repetition: drop an ``id`` that you have seen.
"""

from __future__ import annotations

import binascii
import hmac
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from connectors.webhooks.signatures import metronome_signature, standard_signature

TOLERANCE_S = 300
"""How far the attempt's time may lie from the receiver's clock, in either direction (both schemes document five minutes)."""


class VerificationError(Exception):
    """The request must not be trusted; the text says why."""


def verify(secret: str, headers: Mapping[str, str], body: bytes, now_s: float | None = None) -> None:
    """Both schemes must hold. Header names are compared without regard to case."""
    verify_metronome(secret, headers, body, now_s)
    verify_standard(secret, headers, body, now_s)


def verify_metronome(secret: str, headers: Mapping[str, str], body: bytes, now_s: float | None = None) -> None:
    """``Metronome-Webhook-Signature`` over ``X-Metronome-Date`` (or ``Date``, which older receivers read) and the body."""
    given = _lower(headers)
    date = given.get("x-metronome-date") or _required(given, "date")
    signature = _required(given, "metronome-webhook-signature")
    try:
        sent_s = parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError) as error:
        raise VerificationError("the date header is not a date") from error
    _check_age(sent_s, now_s)
    if not _equal(signature, metronome_signature(secret, date, body)):
        raise VerificationError("Metronome-Webhook-Signature does not match")


def verify_standard(secret: str, headers: Mapping[str, str], body: bytes, now_s: float | None = None) -> None:
    """Standard Webhooks: one of the space-separated ``v1`` entries of ``webhook-signature`` must match."""
    given = _lower(headers)
    message_id = _required(given, "webhook-id")
    timestamp = _required(given, "webhook-timestamp")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise VerificationError("webhook-timestamp is not a number of seconds")
    _check_age(int(timestamp), now_s)
    try:
        expected = standard_signature(secret, message_id, int(timestamp), body)
    except binascii.Error as error:
        raise VerificationError("the secret is not base64") from error
    # every entry is compared, so that the time taken does not tell which one matched
    if not any([_equal(entry, expected) for entry in _required(given, "webhook-signature").split(" ")]):
        raise VerificationError("webhook-signature does not match")


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _required(headers: Mapping[str, str], name: str) -> str:
    if name not in headers:
        raise VerificationError(f"the header {name} is missing")
    return headers[name]


def _check_age(sent_s: float, now_s: float | None) -> None:
    if abs((time.time() if now_s is None else now_s) - sent_s) > TOLERANCE_S:
        raise VerificationError("the request is more than five minutes old, or ahead")


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
