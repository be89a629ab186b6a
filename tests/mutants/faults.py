"""Faults that other billing engines have, re-injected into ours: each as one or more replacements in our source, with the tests
that must fail then. The number is that of the fault in the project's list.
"""

from __future__ import annotations

from dataclasses import dataclass

COMMITS = "tests/integration/test_redis_commit.py"
CUSTOMER = "tests/unit/test_known_faults.py"


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
        1,
        "strict > where the rung is found",
        (
            Edit(
                "engine/alerts/ladder.py",
                "return bisect_right(self.thresholds, value)",
                "return bisect_left(self.thresholds, value)",
            ),
            Edit("engine/alerts/ladder.py", "from bisect import bisect_right", "from bisect import bisect_left"),
        ),
        (f"{CUSTOMER}::test_exactly_at_the_threshold_is_reached",),
    ),
    Mutant(
        1,
        "strict > in the headroom of usage",
        (Edit("engine/alerts/ladder.py", "if after >= self.high or", "if after > self.high or"),),
        (f"{CUSTOMER}::test_exactly_at_the_threshold_is_reached[usage]",),
    ),
    Mutant(
        1,
        "strict > in the headroom of spend",
        (Edit("engine/cells.py", "if after >= gauge.high or", "if after > gauge.high or"),),
        (f"{CUSTOMER}::test_exactly_at_the_threshold_is_reached[spend]",),
    ),
    Mutant(
        2,
        "only the highest threshold that was crossed is told",
        (
            Edit(
                "engine/evaluation.py", "in gauge.ladder.alerts[low:high]:", "in gauge.ladder.alerts[max(low, high - 1) : high]:"
            ),
        ),
        (f"{CUSTOMER}::test_every_threshold_that_one_event_crosses_is_told_lowest_first",),
    ),
    Mutant(
        3,
        "what is told is compared with the last notification sent, not with that threshold's own state",
        (
            Edit(
                "engine/alerts/tracker.py",
                "        outcome = TABLE[state, finding.cause]\n",
                """        last_told = _last_told.get(self._customer_id)
        if state is State.IN_ALARM and finding.cause is Input.ABOVE and last_told != finding.alert.id:
            state = State.OK
        outcome = TABLE[state, finding.cause]
""",
            ),
            Edit(
                "engine/alerts/tracker.py",
                "        alert, value = finding.alert, finding.value\n",
                "        alert, value = finding.alert, finding.value\n        _last_told[self._customer_id] = alert.id\n",
            ),
            Edit("engine/alerts/tracker.py", "class Tracker:\n", "_last_told: dict[str, str] = {}\n\n\nclass Tracker:\n"),
            Edit("engine/evaluation.py", "is not State.OK:\n                continue", "is None:\n                continue"),
        ),
        (f"{CUSTOMER}::test_a_change_of_price_does_not_tell_again_what_still_holds",),
    ),
    Mutant(
        4,
        "where a gauge stood in the last period counts as where it stands in the new one",
        (
            Edit(
                "engine/customer.py",
                "        self._note_spans()\n        moved = turn(",
                """        for (_, old), (_, new) in zip(was.gauges(), self._live.gauges(), strict=False):
            new.rung, new.high = old.rung, old.high
        self._note_spans()
        moved = turn(""",
            ),
        ),
        (f"{CUSTOMER}::test_a_new_period_starts_at_nothing_and_alarms_again",),
    ),
    Mutant(
        5,
        "no state between two looks: whatever moves above the line is told",
        (
            Edit("engine/alerts/ladder.py", "        former = self.rung\n", "        former = 0\n"),
            Edit(
                "engine/alerts/ladder.py",
                "self.high = thresholds[rung] if rung < len(thresholds) else _NEVER_UP",
                "self.high = thresholds[0]",
            ),
            Edit(
                "engine/alerts/states.py",
                "(State.IN_ALARM, Input.ABOVE): Outcome(State.IN_ALARM),",
                "(State.IN_ALARM, Input.ABOVE): Outcome(State.IN_ALARM, Message.REACHED),",
            ),
        ),
        (f"{CUSTOMER}::test_a_value_that_swings_above_the_line_is_told_once",),
    ),
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
        13,
        "an event ages while it waits in the log, and is refused for its age when it is read",
        (
            Edit(
                "connectors/kafka/intake.py",
                "            age_us = appended_at_ms * 1000 - event[3]\n",
                "            age_us = __import__('time').time_ns() // 1000 - event[3]\n",
            ),
        ),
        ("tests/unit/test_intake_arrival.py::test_an_event_that_waited_in_the_log_for_long_is_as_young_as_when_it_was_appended",),
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
        (Edit("connectors/redis/client.py", '"retry": Retry(NoBackoff(), 0)', '"retry": Retry(NoBackoff(), 3)'),),
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
    Mutant(
        11,
        "the greatest of the lines that match instead of their sum",
        (
            Edit(
                "engine/cells.py",
                "        gauge.value = after = before + delta * slope\n",
                "        gauge.value = after = max(before, self.quantity * slope)\n",
            ),
        ),
        (f"{CUSTOMER}::test_what_one_metric_costs_in_two_products_is_added_up",),
    ),
    Mutant(
        12,
        "a new configuration is taken, but nobody is held against it until the next event",
        (
            Edit(
                "engine/customer.py",
                "        self._reconcile(TriggeredBy.CONTRACT_CHANGE, was, former, new, moved)\n",
                "",
            ),
        ),
        (f"{CUSTOMER}::test_a_new_alert_meets_customers_who_are_already_past_it",),
    ),
    Mutant(
        19,
        "alerts are looked at when the batch ends, with its last event",
        (
            Edit("engine/customer.py", "            self._settle_due(event)\n", "            self._last = event\n"),
            Edit(
                "engine/customer.py",
                "        delta, self._delta = self._delta, Delta()\n",
                """        if self._live.due:
            self._settle_due(self._last)
        delta, self._delta = self._delta, Delta()
""",
            ),
        ),
        (
            f"{CUSTOMER}::test_an_alarm_that_rose_and_fell_within_one_batch_shows",
            f"{CUSTOMER}::test_in_a_batch_the_event_that_crossed_is_named",
        ),
    ),
    Mutant(
        20,
        "usage is added up in floats",
        (
            Edit(
                "engine/alerts/ladder.py",
                "self.value = after = before + delta",
                "self.value = after = Decimal(repr(float(before) + float(delta)))",
            ),
        ),
        (
            f"{CUSTOMER}::test_ten_tenths_are_one[usage]",
            f"{CUSTOMER}::test_a_tenth_and_two_tenths_are_not_more_than_three[usage]",
        ),
    ),
    Mutant(
        20,
        "spend is added up in floats",
        (
            Edit(
                "engine/cells.py",
                "gauge.value = after = before + delta * slope",
                "gauge.value = after = Decimal(repr(float(before) + float(delta * slope)))",
            ),
        ),
        (
            f"{CUSTOMER}::test_ten_tenths_are_one[spend]",
            f"{CUSTOMER}::test_a_tenth_and_two_tenths_are_not_more_than_three[spend]",
        ),
    ),
    Mutant(
        20,
        "a quantity is read as a float",
        (
            Edit(
                "engine/numbers.py",
                "            if value.isdigit():\n                return Decimal(value)\n",
                "            if value.isdigit():\n                return Decimal(float(value))\n",
            ),
        ),
        (f"{CUSTOMER}::test_money_keeps_every_digit_of_a_large_sum",),
    ),
)
