"""For receivers: is this request really from us, and fresh?

    verify(secret, request.headers, await request.read())      # raises VerificationError

Give it the exact bytes that arrived, never a body that was parsed and written again. Comparisons take constant time.
A valid request may still be a repetition: drop an ``id`` that you have seen.

``secret`` is one ``whsec_...``, or several while they are rotated: each scheme must hold with one of them. A public key
(``whpk_...``) among them verifies the Ed25519 entries (``v1a``) of ``webhook-signature``; that needs the package cryptography.
"""

from __future__ import annotations

import binascii
import hmac
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime

from connectors import clock
from connectors.webhooks.asymmetric import PUBLIC_PREFIX, is_signature_of
from connectors.webhooks.signatures import metronome_signature, standard_signature, standard_text

TOLERANCE_S = 300
"""How far the attempt's time may lie from the receiver's clock, in either direction (both schemes document five minutes)."""

Secrets = str | Sequence[str]


class VerificationError(Exception):
    """The request must not be trusted; the text says why."""


def verify(secret: Secrets, headers: Mapping[str, str], body: bytes, now_s: float | None = None) -> None:
    """Both schemes must hold; only Standard Webhooks' where there is nothing but a public key. Header names are compared without
    regard to case."""
    if any(not _is_public(each) for each in _several(secret)):
        verify_metronome(secret, headers, body, now_s)
    verify_standard(secret, headers, body, now_s)


def verify_metronome(secret: Secrets, headers: Mapping[str, str], body: bytes, now_s: float | None = None) -> None:
    """``Metronome-Webhook-Signature`` over ``X-Metronome-Date`` (or ``Date``, which older receivers read) and the body."""
    given = _lower(headers)
    date = given.get("x-metronome-date") or _required(given, "date")
    signature = _required(given, "metronome-webhook-signature")
    try:
        sent_s = parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError) as error:
        raise VerificationError("the date header is not a date") from error
    _check_age(sent_s, now_s)
    secrets = [each for each in _several(secret) if not _is_public(each)]
    if not any([_equal(signature, metronome_signature(each, date, body)) for each in secrets]):
        raise VerificationError("Metronome-Webhook-Signature does not match")


def verify_standard(secret: Secrets, headers: Mapping[str, str], body: bytes, now_s: float | None = None) -> None:
    """Standard Webhooks: one of the space-separated entries of ``webhook-signature`` must match, ``v1`` or ``v1a``."""
    given = _lower(headers)
    message_id = _required(given, "webhook-id")
    timestamp = _required(given, "webhook-timestamp")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise VerificationError("webhook-timestamp is not a number of seconds")
    _check_age(int(timestamp), now_s)
    try:
        checks = [_check(each, message_id, int(timestamp), body) for each in _several(secret)]
    except binascii.Error as error:
        raise VerificationError("the secret is not base64") from error
    entries = _required(given, "webhook-signature").split(" ")
    # every entry is compared, so that the time taken does not tell which one matched
    if not any([matches(entry) for entry in entries for matches in checks]):
        raise VerificationError("webhook-signature does not match")


def _check(secret: str, message_id: str, timestamp_s: int, body: bytes) -> Callable[[str], bool]:
    if _is_public(secret):
        text = standard_text(message_id, timestamp_s, body)
        return lambda entry: entry.startswith("v1a,") and is_signature_of(secret, text, entry)
    expected = standard_signature(secret, message_id, timestamp_s, body)
    return lambda entry: _equal(entry, expected)


def _several(secret: Secrets) -> Sequence[str]:
    return [secret] if isinstance(secret, str) else secret


def _is_public(secret: str) -> bool:
    return secret.startswith(PUBLIC_PREFIX)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _required(headers: Mapping[str, str], name: str) -> str:
    if name not in headers:
        raise VerificationError(f"the header {name} is missing")
    return headers[name]


def _check_age(sent_s: float, now_s: float | None) -> None:
    if abs((clock.now_s() if now_s is None else now_s) - sent_s) > TOLERANCE_S:
        raise VerificationError("the request is more than five minutes old, or ahead")


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
