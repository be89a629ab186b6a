"""The signatures that every attempt carries, over the same bytes.

Metronome's: ``hex(HMAC-SHA256(secret as UTF-8, date + "\\n" + body))``, the date being the text of ``X-Metronome-Date``.
Standard Webhooks 1.0: ``"v1," + base64(HMAC-SHA256(key, id + "." + timestamp + "." + body))``, the key being what follows
``whsec_`` in base64; and, for endpoints with a key pair, ``"v1a," + base64(Ed25519(private key, the same text))``.

All bind the time of the attempt, so that a receiver may refuse what is older than five minutes: a retry is signed afresh.

While secrets are rotated, ``webhook-signature`` holds an entry of each valid secret, the newest first, separated by spaces.
Metronome's header has room for one signature: the newest secret's. A receiver that checks Metronome's header takes over the
new secret at the moment of the rotation, or accepts either secret until it has (our verifier does that for it).
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from connectors.webhooks.asymmetric import SigningKey

USER_AGENT = "Metronome"
"""What the product whose API we speak sends, and what its receivers may look for."""

SECRET_PREFIX = "whsec_"


@dataclass(frozen=True, slots=True)
class Signing:
    """``secrets``: the newest first, each with the instant (seconds since the epoch) at which it stops signing, None = never."""

    secrets: tuple[tuple[str, float | None], ...]
    key: SigningKey | None = None

    def valid_secrets(self, now_s: float) -> list[str]:
        return [secret for secret, until_s in self.secrets if until_s is None or now_s < until_s]


def signing_of(document: Mapping[str, Any]) -> Signing:
    """From an endpoint's document. Raises ValueError or KeyError for a secret that cannot sign: it is found here, and not at
    each attempt."""
    older = [(each["secret"], float(each["valid_until_s"])) for each in document.get("previous_secrets", ())]
    secrets = ((document["secret"], None), *older)
    for secret, _ in secrets:
        standard_key(secret)
    private_key = document.get("signing_key")
    return Signing(secrets, None if private_key is None else SigningKey.parse(private_key))


def metronome_signature(secret: str, date: str, body: bytes) -> str:
    """64 lower-case hexadecimal digits. ``date``: the exact text of the header (RFC 1123, GMT)."""
    return hmac.digest(secret.encode(), date.encode() + b"\n" + body, "sha256").hex()


@lru_cache(4_096)
def standard_key(secret: str) -> bytes:
    """The key inside a secret; the prefix may be missing. Raises ValueError (binascii.Error) if the rest is not base64."""
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)


def standard_text(message_id: str, timestamp_s: int, body: bytes) -> bytes:
    """What Standard Webhooks signs. Neither id nor time holds a full stop, so the text has one reading."""
    return b"%s.%d.%s" % (message_id.encode(), timestamp_s, body)


def standard_signature(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """One ``v1`` entry of the header ``webhook-signature``."""
    signed = standard_text(message_id, timestamp_s, body)
    return "v1," + base64.b64encode(hmac.digest(standard_key(secret), signed, "sha256")).decode()


def signed_headers(signing: Signing | str, message_id: str, body: bytes, now_s: float) -> dict[str, str]:
    """All headers of one attempt made at ``now_s`` (seconds since the epoch). ``signing`` may be a single secret."""
    if isinstance(signing, str):
        signing = Signing(((signing, None),))
    timestamp_s = int(now_s)
    date = _date(timestamp_s)
    secrets = signing.valid_secrets(now_s)
    entries = [standard_signature(secret, message_id, timestamp_s, body) for secret in secrets]
    if signing.key is not None:
        entries.append(signing.key.sign(standard_text(message_id, timestamp_s, body)))
    return {
        "User-Agent": USER_AGENT,
        "Content-Type": "application/json",
        "Date": date,
        "X-Metronome-Date": date,
        "Metronome-Webhook-Signature": metronome_signature(secrets[0], date, body),
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(entries),
    }


@lru_cache(8)
def _date(timestamp_s: int) -> str:
    """RFC 1123; all attempts of a second share it."""
    return formatdate(timestamp_s, usegmt=True)
