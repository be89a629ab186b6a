"""Faults that other billing engines have, re-injected into ours: each as one or more replacements in our source, with the tests
that must fail then. The number is that of the fault in the project's list.
"""

from __future__ import annotations

from dataclasses import dataclass

COMMITS = "tests/integration/test_redis_commit.py"


@dataclass(frozen=True, slots=True)
class Edit:
    """``old`` must occur exactly once in the file: a source that has moved on is an error, not a pass."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """``killers``: pytest node ids; each of them must fail under the edits, and pass without them."""

    fault: int
    name: str
    edits: tuple[Edit, ...]
    killers: tuple[str, ...]


MUTANTS = (
    Mutant(
        7,
        "state is saved first, the notification is written after it: a lost reply between them loses it",
        (
            Edit(
                "connectors/redis/partition.py",
                """        keys, arguments = encode_commit(self._keys, batch, self._dedup_days)
        return _outcome(await _COMMIT.run(self._redis, keys, arguments))
""",
                """        from dataclasses import replace
        from connectors.redis.batches import outbox_fields
        keys, arguments = encode_commit(self._keys, replace(batch, notifications=()), self._dedup_days)
        outcome = _outcome(await _COMMIT.run(self._redis, keys, arguments))
        for fields in map(outbox_fields, batch.notifications if isinstance(outcome, Committed) else ()):
            await self._redis.xadd(self._keys.outbox, dict(zip(fields[::2], fields[1::2], strict=True)))
        return outcome
""",
            ),
        ),
        (f"{COMMITS}::test_a_commit_whose_reply_was_lost_counts_once",),
    ),
    Mutant(
        8,
        "the notification is written first, state is saved after it: a refusal between them tells twice",
        (
            Edit(
                "connectors/redis/partition.py",
                """        keys, arguments = encode_commit(self._keys, batch, self._dedup_days)
""",
                """        from dataclasses import replace
        from connectors.redis.batches import outbox_fields
        for fields in map(outbox_fields, batch.notifications):
            await self._redis.xadd(self._keys.outbox, dict(zip(fields[::2], fields[1::2], strict=True)))
        keys, arguments = encode_commit(self._keys, replace(batch, notifications=()), self._dedup_days)
""",
            ),
        ),
        (
            f"{COMMITS}::test_a_refused_batch_writes_nothing",
            f"{COMMITS}::test_a_commit_whose_reply_was_lost_counts_once",
        ),
    ),
    Mutant(
        14,
        "the owner's epoch is not compared: two workers believe that they own a partition",
        (
            Edit(
                "connectors/redis/lua/position.lua",
                "  if (tonumber(position[1]) or 0) ~= epoch then return 'epoch' end\n",
                "",
            ),
        ),
        (f"{COMMITS}::test_a_zombie_reads_and_writes_nothing",),
    ),
    Mutant(
        14,
        "neither sequence nor offset is compared: two owners of one epoch both count the same records",
        (
            Edit(
                "connectors/redis/lua/position.lua",
                "  if stored_sequence > sequence then return 'offset_ahead' end\n",
                "",
            ),
            Edit("connectors/redis/lua/position.lua", "  if stored_offset ~= offset then\n", "  if false then\n"),
        ),
        (f"{COMMITS}::test_two_owners_of_the_same_epoch_cannot_both_commit",),
    ),
    Mutant(
        15,
        "the Redis client repeats a write by itself after a lost reply",
        (Edit("connectors/redis/client.py", "retry=Retry(NoBackoff(), 0)", "retry=Retry(NoBackoff(), 3)"),),
        (f"{COMMITS}::test_the_client_never_repeats_a_write_by_itself",),
    ),
    Mutant(
        15,
        "a commit that is sent again after a lost reply is applied again",
        (
            Edit(
                "connectors/redis/lua/position.lua",
                "  if stored_sequence > sequence then return 'offset_ahead' end\n",
                "",
            ),
            Edit("connectors/redis/lua/position.lua", "  if stored_offset ~= offset then\n", "  if false then\n"),
        ),
        (
            f"{COMMITS}::test_a_batch_sent_again_is_refused_as_done",
            f"{COMMITS}::test_a_commit_whose_reply_was_lost_counts_once",
        ),
    ),
)
