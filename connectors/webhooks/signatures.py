"""The two signatures that every attempt carries, over the same bytes.

Metronome's: ``hex(HMAC-SHA256(secret as UTF-8, date + "\\n" + body))``, the date being the text of ``X-Metronome-Date``.
Standard Webhooks 1.0: ``"v1," + base64(HMAC-SHA256(key, id + "." + timestamp + "." + body))``, the key being what follows
``whsec_`` in base64.

Both bind the time of the attempt, so that a receiver may refuse what is older than five minutes: a retry is signed afresh.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from email.utils import formatdate

USER_AGENT = "Metronome"
"""What the product whose API we speak sends, and what its receivers may look for."""

SECRET_PREFIX = "whsec_"


def metronome_signature(secret: str, date: str, body: bytes) -> str:
    """64 lower-case hexadecimal digits. ``date``: the exact text of the header (RFC 1123, GMT)."""
    return hmac.new(secret.encode(), date.encode() + b"\n" + body, hashlib.sha256).hexdigest()


def standard_key(secret: str) -> bytes:
    """The key inside a secret; the prefix may be missing. Raises ValueError (binascii.Error) if the rest is not base64."""
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)


def standard_signature(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """One entry of the header ``webhook-signature``. Neither id nor time holds a full stop, so the text has one reading."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp_s, body)
    return "v1," + base64.b64encode(hmac.new(standard_key(secret), signed, hashlib.sha256).digest()).decode()


def signed_headers(secret: str, message_id: str, body: bytes, now_s: float) -> dict[str, str]:
    """All headers of one attempt made at ``now_s`` (seconds since the epoch)."""
    timestamp_s = int(now_s)
    date = formatdate(timestamp_s, usegmt=True)
    return {
        "User-Agent": USER_AGENT,
        "Content-Type": "application/json",
        "Date": date,
        "X-Metronome-Date": date,
        "Metronome-Webhook-Signature": metronome_signature(secret, date, body),
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": standard_signature(secret, message_id, timestamp_s, body),
    }
