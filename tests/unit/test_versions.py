"""What a release does not know in stored data is refused by version; what is older is brought up to date."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from connectors.redis.outbox import decode_delivery, decode_readable, encode_delivery
from connectors.redis.quarantine import HeldEvent, Record, decode_held, decode_record, encode_held, encode_record
from connectors.redis.types import Delivery
from engine import versions
from engine.alerts.stored import StateMeta, decode_meta, encode_meta
from engine.versions import StoredByNewerRelease, current
from schemas.documents import UnreadableDocument, load_catalog, load_customer
from tests.support.redis_stores import entry_of

HELD = HeldEvent(b'{"a": "\\n"}', "00ff", 5, "usage-events", 3, 17, 2, 1, "usage-events/1/4", "00-1-2-01")


def test_without_a_version_it_is_the_first() -> None:
    assert current("customer", "acme", {"id": "acme"}) == {"id": "acme"}
    assert decode_meta({"meta": encode_meta(StateMeta(customer_version=3))}).customer_version == 3


def test_older_forms_are_brought_up_to_date_one_version_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "CURRENT", {"customer": 3})
    upcasts: dict[tuple[str, int], Any] = {
        ("customer", 1): lambda document: {**document, "v": 2, "names": [document["name"]]},
        ("customer", 2): lambda document: {**document, "v": 3, "count": len(document["names"])},
    }
    monkeypatch.setattr(versions, "UPCASTS", upcasts)
    assert current("customer", "acme", {"name": "Acme"}) == {"name": "Acme", "names": ["Acme"], "count": 1, "v": 3}


@pytest.mark.parametrize("version", [2, 99, 0, -1, "2", None, 1.5])
def test_a_version_that_is_not_known_names_key_version_and_what_to_do(version: object) -> None:
    with pytest.raises(StoredByNewerRelease, match=r"customer 'acme' has version .* knows 1 at most.*Run that release") as raised:
        load_customer(f'{{"id": "acme", "v": {_json(version)}}}')
    assert (raised.value.what, raised.value.key) == ("customer", "acme")


def _json(value: object) -> str:
    return "null" if value is None else f'"{value}"' if isinstance(value, str) else str(value)


def test_a_document_of_the_catalog_that_cannot_be_read_is_named() -> None:
    with pytest.raises(UnreadableDocument, match="metrics m-1: StoredByNewerRelease: catalog 'metrics/m-1' has version 2"):
        load_catalog(1, {"metrics": {"m-1": b'{"v": 2}'}})
    with pytest.raises(UnreadableDocument, match="alerts a-1: KeyError"):
        load_catalog(1, {"alerts": {"a-1": b"{}"}})
    with pytest.raises(UnreadableDocument, match="products p-1: JSONDecodeError"):
        load_catalog(1, {"products": {"p-1": b"{"}})


def test_a_delivery_of_a_newer_release_is_left_out_and_the_others_are_taken() -> None:
    known = Delivery(entry_of(1), "endpoint", 0, 1, 1)
    newer = msgpack.packb({**msgpack.unpackb(encode_delivery(known)), "v": 2})
    with pytest.raises(StoredByNewerRelease):
        decode_delivery(newer)
    assert decode_readable([newer, encode_delivery(known)]) == [known]


def test_records_and_events_of_the_quarantine_come_back_as_they_were() -> None:
    record = Record("apply", "Inexact", 1, 2, "t-1", 3, 4, "0.1.0", 5, 6, 7, True, ("alert",), ("t-1", "t-2"))
    assert decode_record("acme", encode_record(record)) == record
    assert decode_held(encode_held(HELD)) == HELD
    with pytest.raises(StoredByNewerRelease):
        decode_held(encode_held(HELD).replace(b"[1,", b"[2,", 1))
    with pytest.raises(StoredByNewerRelease):
        decode_record("acme", b'{"v": 2}')
