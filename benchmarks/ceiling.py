"""The ceiling: the same topic read by the same client with the same settings, each record decoded by orjson, nothing else.

Run as a process of its own (``python -m benchmarks.ceiling TOPIC PARTITIONS RECORDS``); prints one JSON line. As for the
worker, the clock starts with the first batch in hand, so that joining and connecting do not count.
"""

from __future__ import annotations

import sys
import time

import orjson
import uvloop
from aiokafka import TopicPartition

from benchmarks.measure import machine_cpu_s
from connectors.kafka.client import consumer
from connectors.settings import Settings

PATIENCE_MS = 20_000


async def drain(topic: str, partitions: int, records: int) -> dict[str, float]:
    """Reads ``records`` records of the topic from its beginning."""
    settings = Settings()
    client = consumer(settings)
    await client.start()
    try:
        client.assign([TopicPartition(topic, partition) for partition in range(partitions)])
        await client.seek_to_beginning()
        done = skipped = batches_read = 0
        start = cpu_before = machine_before = 0.0
        while done < records:
            batches = await client.getmany(timeout_ms=PATIENCE_MS, max_records=settings.batch_records_max)
            if not batches:
                raise TimeoutError(f"only {done} of {records} records came")
            for batch in batches.values():
                for record in batch:
                    orjson.loads(record.value)
                done += len(batch)
                batches_read += 1
            if not skipped:
                skipped, start, cpu_before, machine_before = done, time.perf_counter(), time.process_time(), machine_cpu_s()
        return {
            "records": done - skipped,
            "elapsed_s": time.perf_counter() - start,
            "cpu_s": time.process_time() - cpu_before,
            "machine_cpu_s": machine_cpu_s() - machine_before,
            "batch_records": done / batches_read,
        }
    finally:
        await client.stop()


def main() -> None:
    sys.stdout.buffer.write(orjson.dumps(uvloop.run(drain(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))) + b"\n")


if __name__ == "__main__":
    main()
