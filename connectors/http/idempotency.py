"""The Idempotency-Key header: a POST that is sent again with its key gets the first answer again, whatever it was.

The key belongs to the token. Its first request holds it while it runs; a second one meanwhile is told to come back. The answer is
kept with a fingerprint of the request: the same key with another request is a conflict.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson

from connectors.redis.catalog import CatalogStore
from schemas.errors import BadRequest, Conflict, InProgress

HEADER = "Idempotency-Key"
KEY_CHARACTERS_MAX = 255
HOLD_S = 120
"""How long a request may run under its key. Longer than all time limits of one request together; a process that dies frees its
keys after it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as bytes. ``retryable``: 503: it is not kept, so that the request may be tried again."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    retryable: bool = False


def fingerprint(method: str, target: str, body: bytes) -> str:
    return hashlib.sha256(b"\0".join((method.encode(), target.encode(), body))).hexdigest()


async def once(
    store: CatalogStore, token_hash: str, key: str, print_: str, keep_s: int, run: Callable[[], Awaitable[Reply]]
) -> Reply:
    """``run`` for the first request with this key, the kept reply for the others."""
    if not 0 < len(key) <= KEY_CHARACTERS_MAX or not key.isprintable():
        raise BadRequest(f"{HEADER}: must be 1 to {KEY_CHARACTERS_MAX} printable characters")
    kept = await store.idempotency_begin(token_hash, key, HOLD_S)
    if kept is None:
        reply = await run()
        if reply.retryable:
            await store.idempotency_abandon(token_hash, key)
        else:
            await store.idempotency_finish(token_hash, key, _encode(reply, print_), keep_s)
        return reply
    if not kept:
        raise InProgress("A request with this Idempotency-Key is under way.")
    return _decode(kept, print_)


def _encode(reply: Reply, print_: str) -> bytes:
    body = base64.b64encode(reply.body).decode()
    return orjson.dumps({"request": print_, "status": reply.status, "body": body, "headers": reply.headers})


def _decode(kept: bytes, print_: str) -> Reply:
    fields = orjson.loads(kept)
    if fields["request"] != print_:
        raise Conflict("This Idempotency-Key was used for another request.")
    headers = tuple((name, value) for name, value in fields["headers"])
    return Reply(fields["status"], base64.b64decode(fields["body"]), (*headers, ("Idempotency-Replayed", "true")))
