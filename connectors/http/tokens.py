"""Bearer tokens: those of the settings, and those that ``tidemark token create`` made, of which only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

import orjson
import structlog

from connectors import logs
from connectors.http.connections import client_of
from connectors.http.wrong_tokens import WrongTokens
from connectors.redis.catalog import CatalogStore
from connectors.settings import Settings
from schemas.errors import Unauthorized

log = structlog.get_logger("http")

_CHARACTERS_SAFE = 16
_SCHEME = "bearer "
_OF_SETTINGS = "TIDEMARK_API_TOKENS"


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


_ID_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Holder:
    """Who sent a request: the token's hash, and its name as it was made; those of the settings share one."""

    hash: str
    name: str

    @property
    def id(self) -> str:
        """So much of the hash that it names the token in logs; the command line's list of tokens shows its beginning, too."""
        return self.hash[:_ID_CHARACTERS]


class Tokens:
    """All comparisons are of hashes: how long one takes says nothing about a token."""

    def __init__(self, settings: Settings, store: CatalogStore) -> None:
        given = (token.strip() for token in settings.api_tokens.get_secret_value().split(","))
        tokens = [token for token in given if token]
        self._given = [token_hash(token) for token in tokens]
        short = sum(len(token) < _CHARACTERS_SAFE for token in tokens)
        if short:
            log.warning("short tokens", setting=_OF_SETTINGS, count=short, risk="easily guessed", characters_min=_CHARACTERS_SAFE)
        self._store = store
        self._wrong = WrongTokens(settings.api_wrong_token_delay_max_s)

    async def check(self, authorization: str | None, address: str | None) -> Holder:
        """The holder of the header's token. Raises Unauthorized, the later the more wrong ones came from the address."""
        if authorization is None or not authorization.lower().startswith(_SCHEME):
            raise Unauthorized("send the header Authorization: Bearer <token>")
        token = authorization[len(_SCHEME) :].strip()
        hashed = token_hash(token)
        matches = [hmac.compare_digest(hashed, each) for each in self._given]
        if any(matches):
            return Holder(hashed, _OF_SETTINGS)
        document = await self._store.token(hashed)
        if document is not None:
            logs.remember(token)
            return Holder(hashed, orjson.loads(document)["name"])
        await self._wrong.slow_down(client_of(address))
        raise Unauthorized("the token is not known")
