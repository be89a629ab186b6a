"""How large the next batch should be: small when idle, for latency; large behind a backlog, for throughput."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.kafka.intake import Record

_FETCH_BYTES_MAX = 8 * 1_048_576
"""What is taken out of the consumer at once: each record is a copy of its part of a batch that may be much larger."""
_RECORD_BYTES_FIRST = 262_144
"""Records are taken for this large until some were seen: 32 in the first fetch."""
_RECORDS_FIRST = 256
_RECORDS_MIN = 16
_BYTES_MAX = 4 * 1_048_576
"""A record may hold a thousand events: a batch is bounded in bytes, too, before it is decoded."""


class Pace:
    """``records``: the most that one fetch should return. A fetch takes what is there, so idle batches are small anyway.

    ``target_ms``: how long a batch may take, those of the other partitions included with which it shares the process. (Measured
    with 12 partitions on two busy cores: 50 ms for each batch alone gave batches of 124 records and 17,000 events/s; 50 ms times
    the partitions gave 1,316 and 31,000.)
    """

    def __init__(self, records_max: int, target_ms: int) -> None:
        self._records_max = records_max
        self._target_s = target_ms / 1000
        self.records = min(_RECORDS_FIRST, records_max)
        self._record_bytes = _RECORD_BYTES_FIRST

    @property
    def fetch(self) -> int:
        """How many records to ask for: ``records``, unless the latest ones were so large that these would be too many bytes."""
        return max(1, min(self.records, _FETCH_BYTES_MAX // self._record_bytes))

    def weigh(self, records: Sequence[Record]) -> None:
        """After a fetch. A larger mean counts at once, a smaller one by halves: large records come in runs."""
        if records:
            mean = sum(len(record.value or b"") for record in records) // len(records)
            self._record_bytes = max(1, mean, self._record_bytes // 2)

    def learn(self, records: int, elapsed_s: float) -> None:
        """After a batch: too slow shrinks the next one in proportion; a full one that was quick doubles it."""
        if elapsed_s > self._target_s:
            fitting = int(records * self._target_s / elapsed_s)
            self.records = min(self._records_max, max(_RECORDS_MIN, fitting))
        elif records >= self.records and elapsed_s * 2 <= self._target_s:
            self.records = min(self._records_max, self.records * 2)

    @staticmethod
    def cut(records: Sequence[Record]) -> int:
        """How many of the records, at least one, make up a batch by their size."""
        size = 0
        for number, record in enumerate(records):
            size += len(record.value or b"")
            if size > _BYTES_MAX:
                return max(number, 1)
        return len(records)
