"""Ed25519 signatures of Standard Webhooks (``v1a``), for endpoints with a key pair: whoever can verify cannot sign."""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PRIVATE_PREFIX = "whsk_"
PUBLIC_PREFIX = "whpk_"
_KEY_BYTES = 32


class SigningKey:
    """A private key: ``whsk_`` and the base64 of 32 bytes. Equal to another with the same text."""

    __slots__ = ("_key", "text")

    def __init__(self, text: str, key: Ed25519PrivateKey) -> None:
        self.text = text
        self._key = key

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Raises ValueError for a text that is no key."""
        return cls(text, Ed25519PrivateKey.from_private_bytes(_raw(text, PRIVATE_PREFIX)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SigningKey) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def sign(self, text: bytes) -> str:
        """One entry of ``webhook-signature``."""
        return "v1a," + base64.b64encode(self._key.sign(text)).decode()

    @property
    def public(self) -> str:
        """What receivers verify with: ``whpk_`` and the base64 of 32 bytes."""
        return PUBLIC_PREFIX + base64.b64encode(self._key.public_key().public_bytes_raw()).decode()


def new_signing_key() -> str:
    return PRIVATE_PREFIX + base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()


def is_signature_of(public_key: str, text: bytes, entry: str) -> bool:
    """Whether ``entry`` ("v1a,...") signs ``text``. Raises ValueError for a key that is none."""
    key = Ed25519PublicKey.from_public_bytes(_raw(public_key, PUBLIC_PREFIX))
    try:
        key.verify(base64.b64decode(entry.removeprefix("v1a,"), validate=True), text)
    except (InvalidSignature, ValueError):  # ValueError: not base64, or not ASCII
        return False
    return True


def _raw(text: str, prefix: str) -> bytes:
    try:
        raw = base64.b64decode(text.removeprefix(prefix), validate=True)
    except binascii.Error:
        raise ValueError(f"a key is {prefix} and base64") from None
    if len(raw) != _KEY_BYTES:
        raise ValueError(f"a key has {_KEY_BYTES} bytes")
    return raw
