"""Bearer tokens: those of the settings, and those that ``tidemark token create`` made, of which only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import hmac

from connectors.redis.catalog import CatalogStore
from connectors.settings import Settings
from schemas.errors import Unauthorized

_SCHEME = "bearer "


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class Tokens:
    """All comparisons are of hashes: how long one takes says nothing about a token."""

    def __init__(self, settings: Settings, store: CatalogStore) -> None:
        given = (token.strip() for token in settings.api_tokens.get_secret_value().split(","))
        self._given = [token_hash(token) for token in given if token]
        self._store = store

    async def check(self, authorization: str | None) -> str:
        """The hash of the header's token. Raises Unauthorized."""
        if authorization is None or not authorization.lower().startswith(_SCHEME):
            raise Unauthorized("send the header Authorization: Bearer <token>")
        hashed = token_hash(authorization[len(_SCHEME) :].strip())
        matches = [hmac.compare_digest(hashed, each) for each in self._given]
        if any(matches) or await self._store.has_token(hashed):
            return hashed
        raise Unauthorized("the token is not known")
