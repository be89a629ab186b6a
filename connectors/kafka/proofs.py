"""What shows that a text comes from this installation: headers of records that we produced again, and replays of events.

Anyone who may write to the topic can write any header. Two of them would be worth forging:

- ``tidemark-appended-at`` keeps an event's arrival while it is forwarded or parked. Believed from anyone, it makes an event of
  any age a young one, which voids the rule of 34 days and, since ids are remembered for as long, deduplication.
- ``tidemarkreplay`` lets an event whose id has been seen count once more, for metrics that could not read it the first time.

So both carry a keyed hash over what they are for. The key lies in Redis (``{catalog}:proof_key``): each installation has its
own, and what a mirror copies from another one's topic proves nothing here. A key that was lost with Redis costs little: an event
on its way then arrives when its record was written, and a letter's replay is refused.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from hashlib import blake2b

from connectors.redis.catalog import PROOF_KEY_BYTES

_DIGEST_BYTES = 16
_SEPARATOR = "\0"  # no id holds one


class Proofs:
    """Makes and checks proofs. Until ``adopt`` it has a key that nobody knows, and believes nothing."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(PROOF_KEY_BYTES)

    def adopt(self, key: bytes) -> None:
        self._key = key

    def arrival(self, appended_at_ms: int, value: bytes) -> bytes:
        """That we produced ``value`` as an event that had arrived at ``appended_at_ms``."""
        return self._digest(b"arrival", b"%d" % appended_at_ms, value).encode()

    def is_arrival(self, proof: bytes | None, appended_at_ms: int, value: bytes | None) -> bool:
        if proof is None or value is None:
            return False
        return hmac.compare_digest(proof, self.arrival(appended_at_ms, value))

    def replay(self, customer_id: str, source: str, transaction_id: str, metric_ids: Iterable[str]) -> str:
        """The value of ``tidemarkreplay`` for an event that these metrics could not read."""
        metrics = ",".join(metric_ids)
        return f"{self._replay_digest(customer_id, source, transaction_id, metrics)}:{metrics}"

    def replayed(self, replay: str, customer_id: str, source: str, transaction_id: str) -> frozenset[str] | None:
        """The metrics for which a replay lets the event count; None: it was made for another event, or by nobody."""
        digest, _, metrics = replay.partition(":")
        expected = self._replay_digest(customer_id, source, transaction_id, metrics)
        if not metrics or not hmac.compare_digest(digest.encode("utf-8", "replace"), expected.encode()):
            return None
        return replayed_metrics(replay)

    def _replay_digest(self, customer_id: str, source: str, transaction_id: str, metrics: str) -> str:
        text = _SEPARATOR.join((customer_id, source, transaction_id, metrics))
        return self._digest(b"replay", text.encode("utf-8", "surrogatepass"))

    def _digest(self, purpose: bytes, *parts: bytes) -> str:
        digest = blake2b(digest_size=_DIGEST_BYTES, key=self._key, person=purpose)
        for part in parts:
            digest.update(part + b"\0")
        return digest.hexdigest()


def replayed_metrics(replay: str) -> frozenset[str]:
    """The metrics that a replay names; it has been checked."""
    return frozenset(replay.partition(":")[2].split(","))
