"""Secrets at rest: what Redis keeps of webhook endpoints (secrets, private keys, URLs that are secrets themselves, as Slack's
are), and answers under Idempotency-Keys, which may hold a secret that is shown once.

Sealed is all of such a value, as ``sealed:`` and a Fernet token (AES-128-CBC with an HMAC), with the first of the keys in
``TIDEMARK_SECRETS_KEYS``; every one of them opens. Without keys values are written as they are, and such values are read in any
case: so keys can be introduced, exchanged and the old values sealed anew (``tidemark secrets rotate``) while everything runs. A
role that finds sealed endpoints which no key of its opens does not start.
"""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from connectors.settings import Settings

SEALED = b"sealed:"
_OPENED_MAX = 20_000


class SecretsLocked(Exception):
    """Sealed values that no key opens. ``retryable``: never; a key is missing."""


class Vault:
    """``keys``: the first one seals, all of them open; none: nothing is sealed."""

    def __init__(self, keys: tuple[str, ...] = ()) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None
        self._opened: dict[bytes, bytes] = {}  # endpoints are read again and again, each time all of them

    @classmethod
    def of(cls, settings: Settings) -> Vault:
        return cls(settings.secrets_key_list())

    @property
    def seals(self) -> bool:
        return self._fernet is not None

    def seal(self, plain: bytes) -> bytes:
        return plain if self._fernet is None else SEALED + self._fernet.encrypt(plain)

    def open(self, stored: bytes) -> bytes:
        """Raises SecretsLocked."""
        if not stored.startswith(SEALED):
            return stored
        opened = self._opened.get(stored)
        if opened is None:
            try:
                opened = self._fernet.decrypt(stored[len(SEALED) :]) if self._fernet is not None else None
            except InvalidToken:
                opened = None
            if opened is None:
                raise SecretsLocked("a stored secret is sealed with a key that is not in TIDEMARK_SECRETS_KEYS")
            if len(self._opened) >= _OPENED_MAX:
                self._opened.clear()
            self._opened[stored] = opened
        return opened

    def check(self, stored: Mapping[str, bytes]) -> None:
        """Raises SecretsLocked, with the number of values that cannot be opened."""
        locked = 0
        for value in stored.values():
            try:
                self.open(value)
            except SecretsLocked:
                locked += 1
        if locked:
            raise SecretsLocked(
                f"{locked} of {len(stored)} webhook endpoints are stored sealed, and no key in TIDEMARK_SECRETS_KEYS opens them: "
                "start with the key that sealed them, beside a new one if need be (new,old)"
            )


UNSEALED = Vault()
