"""The Idempotency-Key header: a POST that is sent again with its key has one effect, and the first answer.

The key belongs to the token. What is kept under it is the answer of a request that took effect (2xx), with a fingerprint of the
request: the same key with another request is a conflict. A refusal changed nothing, so nothing is kept of it: the request may be
sent again, mended, under its key. (The API that we speak keeps refusals and 500s, too: a client that mends its request and keeps
its key, or asks again after a failure of ours, would get the old failure for a day.) After a failure of ours or a dead process it
is not known what was done; then the key stays the request's, and whoever sends it again gets it finished.

How one effect is kept: connectors/redis/once.py.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

import orjson
import structlog
from redis.exceptions import RedisError

from connectors.http.replies import Answered, Reply, answer_reply
from connectors.redis.once import CURRENT, LEASE_MS, Keyed, KeyStore, Repeated, keyed
from connectors.redis.secrets import UNSEALED, Vault
from schemas.errors import BadRequest, Conflict, InProgress

log = structlog.get_logger("http")

HEADER = "Idempotency-Key"
KEY_CHARACTERS_MAX = 255
WAIT_S = 1.5 * LEASE_MS / 1000
"""How long a request waits for another one with its key, before it is told to come back: a dead one's lease ends within it."""
_POLL_S = 0.1
_PROLONG_S = LEASE_MS / 4000
_TOKEN_CHARACTERS = 16


def fingerprint(method: str, target: str, body: bytes) -> str:
    return hashlib.sha256(b"\0".join((method.encode(), target.encode("utf-8", "surrogateescape"), body))).hexdigest()


def keyed_request(token_hash: str, key: str, request: str, keep_s: int, vault: Vault = UNSEALED) -> Keyed:
    """Raises BadRequest for a key that is none."""
    if not 0 < len(key) <= KEY_CHARACTERS_MAX or not key.isprintable():
        raise BadRequest(f"{HEADER}: must be 1 to {KEY_CHARACTERS_MAX} printable characters")
    return Keyed(f"{token_hash[:_TOKEN_CHARACTERS]}:{key}", request, keep_s, vault)


def kept_answer(answer: Answered) -> bytes:
    """An answer as the script that decides the request under way keeps it; nothing, where the request has no key."""
    request = CURRENT.get()
    return b"" if request is None else _encode(answer_reply(answer), request)


async def once(
    store: KeyStore,
    request: Keyed,
    run: Callable[[Keyed], Awaitable[Reply]],
    settle: Callable[[], Awaitable[None]],
) -> Reply:
    """``run`` for the first request with this key, the kept reply for the others. ``settle``: finishes what a run that died after
    its change was still going to tell others."""
    request, again = await _begin(store, request)
    if isinstance(again, Reply):
        return again
    try:
        if again and (made := await store.made(request)) is not None:
            raise Repeated(made)
        with keyed(request):
            reply = await _leased(store, request, run(request))
        if reply.status >= 300 and (made := await store.made(request)) is not None:
            raise Repeated(made)  # another run, whose lease ran out, was faster: this one was refused for what that one made
    except Repeated as repeated:
        replayed = _decode(repeated.answer, request)
        await settle()
        await store.finish(request, repeated.answer)
        return replayed
    except BaseException:
        await _ended(store.interrupt(request))
        raise
    if reply.status < 300:
        await _ended(store.finish(request, _encode(reply, request)))
    elif reply.status < 500:
        await _ended(store.give_back(request))
    else:
        await _ended(store.interrupt(request))
    return reply


async def _begin(store: KeyStore, request: Keyed) -> tuple[Keyed, bool | Reply]:
    """The request with its seed, and whether there was an earlier run; or an answer. Raises Conflict, InProgress."""
    loop = asyncio.get_running_loop()
    until = loop.time() + WAIT_S
    while True:
        word, argument = await store.begin(request)
        match word:
            case "answer":
                return request, _decode(argument, request)
            case "other":
                raise Conflict(_ANOTHER)
            case "first" | "again":
                return replace(request, seed=argument.decode()), word == "again"
        if loop.time() >= until:
            raise InProgress(f"A request with this {HEADER} is under way.")
        await asyncio.sleep(_POLL_S)


async def _leased(store: KeyStore, request: Keyed, run: Awaitable[Reply]) -> Reply:
    """``run``, with its lease prolonged while it lasts. The lease is politeness: where Redis is away, it runs out."""
    task = asyncio.ensure_future(run)
    try:
        while not (await asyncio.wait({task}, timeout=_PROLONG_S))[0]:
            await _ended(store.prolong(request))
        return task.result()
    finally:
        task.cancel()


async def _ended(told: Awaitable[None]) -> None:
    """The answer stands, and its change with the means to find it again, even if Redis cannot be told now."""
    try:
        await told
    except (RedisError, OSError) as error:
        log.warning("idempotency key not updated", error=type(error).__name__)


_ANOTHER = f"This {HEADER} was used for another request."


def _encode(reply: Reply, request: Keyed) -> bytes:
    body = base64.b64encode(reply.body).decode()
    kept = {"request": request.request, "status": reply.status, "body": body, "headers": reply.headers}
    return request.vault.seal(orjson.dumps(kept))


def _decode(kept: bytes, request: Keyed) -> Reply:
    fields = orjson.loads(request.vault.open(kept))
    if fields["request"] != request.request:
        raise Conflict(_ANOTHER)
    headers = tuple((name, value) for name, value in fields["headers"])
    return Reply(fields["status"], base64.b64decode(fields["body"]), (*headers, ("Idempotency-Replayed", "true")))
