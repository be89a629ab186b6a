"""Spans of delivery attempts, with the SDK of OpenTelemetry: their parents, what they tell, what the receiver is sent."""

from __future__ import annotations

import asyncio
import builtins
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from connectors.webhooks.tracing import OtelMissing, Tracing
from tests.support.dispatching import Box, dispatching, notification, settings_for
from tests.support.receiver import Answer, Receiver

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

TRACE_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736
PARENT_ID = 0x00F067AA0BA902B7
TRACE = f"00-{TRACE_ID:032x}-{PARENT_ID:016x}-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What was recorded, in the order of the ends."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(Tracing, "of", classmethod(lambda cls, settings: cls(provider)))
    return exporter


@pytest.mark.usefixtures("unshifted")  # spans have a clock of their own
async def test_an_attempt_is_a_child_of_its_event_and_the_request_carries_it_on(
    redis_url: str, box: Box, receiver: Receiver, spans: Any
) -> None:
    receiver.script("/hook", Answer(500))
    await box.add_endpoint("a", receiver.url)
    async with dispatching(settings_for(redis_url)):
        await box.write([notification(1, traceparent=TRACE)])
        await box.until_empty()
    failed, delivered = spans.get_finished_spans()
    for span, request in zip((failed, delivered), receiver.received, strict=True):
        assert span.name == "deliver alerts.spend_threshold_reached"
        assert (span.context.trace_id, span.parent.span_id) == (TRACE_ID, PARENT_ID)
        assert request.headers["traceparent"] == f"00-{TRACE_ID:032x}-{span.context.span_id:016x}-01"
        assert request.invalid is None
    assert (failed.attributes["http.response.status_code"], failed.status.is_ok) == (500, False)
    assert (delivered.attributes["http.response.status_code"], delivered.attributes["tidemark.outcome"]) == (204, "success")
    assert failed.attributes["tidemark.connect_seconds"] > 0
    assert "tidemark.connect_seconds" not in delivered.attributes  # kept alive
    assert delivered.attributes["tidemark.first_byte_seconds"] > 0
    assert delivered.attributes["messaging.message.id"] == "n-1"
    (first_byte,) = delivered.events
    assert delivered.start_time <= first_byte.timestamp <= delivered.end_time + 1_000_000
    assert failed.context.span_id != delivered.context.span_id


async def test_without_a_trace_the_attempt_begins_one(redis_url: str, box: Box, receiver: Receiver, spans: Any) -> None:
    await box.add_endpoint("a", receiver.url)
    async with dispatching(settings_for(redis_url)):
        await box.write([notification(1)])
        await box.until_empty()
    (span,) = spans.get_finished_spans()
    assert span.parent is None
    context = span.context
    own = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
    assert receiver.received[0].headers["traceparent"] == own


async def test_spans_are_exported_over_http_and_the_last_ones_at_the_end(
    redis_url: str, box: Box, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths: list[str] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    collector = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    await box.add_endpoint("a", receiver.url)
    async with dispatching(settings_for(redis_url, otel_traces=True)):
        await box.write([notification(1)])
        await box.until_empty()
    await asyncio.to_thread(collector.shutdown)
    assert paths == ["/v1/traces"]


def test_off_by_default_and_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Tracing.of(settings_for("redis://unused")) is None
    imported = builtins.__import__

    def refuse(name: str, *arguments: Any, **named: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return imported(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(OtelMissing, match=r"\.\[otel\]"):
        Tracing.of(settings_for("redis://unused", otel_traces=True))
