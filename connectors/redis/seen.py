"""Ids of the duplicate filter."""

from __future__ import annotations

from hashlib import blake2b


def seen_id(customer_id: str, transaction_id: str) -> bytes:
    """12 bytes: 4 of the transaction id alone (they choose the bucket, and find it without the customer), 8 of both."""
    transaction = transaction_id.encode("utf-8", "surrogatepass")
    return (
        blake2b(transaction, digest_size=4).digest() + blake2b(transaction, digest_size=8, key=customer_id.encode()[:64]).digest()
    )
