"""Lua scripts, each a file of its own under lua/, run by SHA.

The cache of scripts is lost when the server restarts or fails over, so a NOSCRIPT answer (nothing was executed) loads the
script by running it in full. That is the only repetition here: a lost reply is never answered by sending again.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

Argument = bytes | str | int

_FOLDER = files("connectors.redis") / "lua"


class Script:
    """``includes``: files whose functions the script uses; they are put before it, since Lua in Redis cannot load modules."""

    def __init__(self, name: str, *includes: str) -> None:
        self.text = "\n".join((_FOLDER / f"{part}.lua").read_text("utf-8") for part in (*includes, name))
        self._sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, redis: Redis, keys: Sequence[str], *args: Argument) -> Any:
        """The script's reply. Raises redis.exceptions.RedisError; after a lost connection it may have been executed."""
        client: Any = redis
        try:
            return await client.execute_command("EVALSHA", self._sha, len(keys), *keys, *args)
        except NoScriptError:
            return await client.execute_command("EVAL", self.text, len(keys), *keys, *args)

    async def run_each(self, redis: Redis, calls: Sequence[tuple[Sequence[str], Sequence[Argument]]]) -> list[Any]:
        """The replies to several calls (keys, arguments), made in one round trip; each is executed on its own, and after a lost
        connection any of them may have been. Raises redis.exceptions.RedisError."""
        if len(calls) == 1:
            return [await self.run(redis, calls[0][0], *calls[0][1])]
        pipeline: Any = redis.pipeline(transaction=False)
        for keys, args in calls:
            pipeline.execute_command("EVALSHA", self._sha, len(keys), *keys, *args)
        replies = await pipeline.execute(raise_on_error=False)
        for place, reply in enumerate(replies):
            if isinstance(reply, NoScriptError):
                replies[place] = await self.run(redis, calls[place][0], *calls[place][1])
            elif isinstance(reply, Exception):
                raise reply
        return list(replies)
