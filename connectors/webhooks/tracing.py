"""OpenTelemetry spans of delivery attempts: the optional extra ``otel``, switched on by the setting ``otel_traces``.

An attempt's span is a child of the event's that crossed the line, where its record had a ``traceparent``, and the root of a new
trace where not; the request carries the span's own context on to the receiver. Spans go to where the standard variables say
(``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_TRACES_SAMPLER``, ``OTEL_RESOURCE_ATTRIBUTES``, ...), over HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from connectors.clock import shift_s
from connectors.redis.types import OutboxEntry
from connectors.settings import Settings
from connectors.webhooks.client import Attempt
from connectors.webhooks.endpoints import Endpoint

if TYPE_CHECKING:
    from connectors.webhooks.destinations import Destination

_NS = 1_000_000_000


class OtelMissing(ValueError):
    """The extra is not installed."""

    def __init__(self) -> None:
        super().__init__("TIDEMARK_OTEL_TRACES needs OpenTelemetry: pip install '.[otel]' in the checkout")


class Tracing:
    """``provider``: an OpenTelemetry TracerProvider of the SDK."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("tidemark.webhooks")

    @classmethod
    def of(cls, settings: Settings) -> Tracing | None:
        """None where it is not switched on. Raises OtelMissing."""
        if not settings.otel_traces:
            return None
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise OtelMissing from None
        provider = TracerProvider(resource=Resource.create({"service.name": "tidemark-dispatcher"}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    def traced(self, destination: Destination) -> Destination:
        return _Traced(destination, self._tracer)

    async def close(self) -> None:
        """Sends what waits, as long as the exporter's own time limits let it."""
        await asyncio.to_thread(self._provider.shutdown)


class _Traced:
    def __init__(self, destination: Destination, tracer: Any) -> None:
        self._destination = destination
        self._tracer = tracer

    @property
    def endpoint(self) -> Endpoint:
        return self._destination.endpoint

    async def attempt(self, entry: OutboxEntry, first_byte: Callable[[], None] | None) -> Attempt:
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carried = TraceContextTextMapPropagator()
        parent = carried.extract({"traceparent": entry.traceparent} if entry.traceparent else {})
        endpoint = self.endpoint
        span = self._tracer.start_span(f"deliver {entry.type}", context=parent, kind=SpanKind.PRODUCER)
        span.set_attributes(
            {
                "messaging.message.id": entry.id,
                "messaging.operation.type": "send",
                "messaging.system": endpoint.type,
                "tidemark.endpoint_id": endpoint.id,
                "tidemark.alert_id": entry.alert_id,
                "tidemark.customer_id": entry.customer_id,
            }
            | ({} if endpoint.target is None else {"server.address": endpoint.target.host})
        )
        sent: dict[str, str] = {}
        carried.inject(sent, set_span_in_context(span, parent))
        try:
            attempt = await self._destination.attempt(replace(entry, traceparent=sent.get("traceparent", "")), first_byte)
            _describe(span, attempt)
        finally:
            span.end()
        return attempt

    async def close(self) -> None:
        await self._destination.close()


def _describe(span: Any, attempt: Attempt) -> None:
    """How it went: the outcome, and where the time was spent (seconds)."""
    from opentelemetry.trace import StatusCode

    timings = attempt.timings
    found = {
        "http.response.status_code": attempt.status,
        "tidemark.outcome": attempt.outcome,
        "tidemark.requests": attempt.sent,
        "tidemark.dns_seconds": timings.dns_s,
        "tidemark.connect_seconds": timings.connect_s,
        "tidemark.tls_seconds": timings.tls_s,
        "tidemark.first_byte_seconds": timings.headers_s,
    }
    span.set_attributes({name: value for name, value in found.items() if value is not None})
    if timings.headers_s is not None:
        span.add_event("first byte of the answer", timestamp=int((attempt.at_s - shift_s() + timings.headers_s) * _NS))
    if attempt.outcome != "success":
        span.set_status(StatusCode.ERROR, attempt.error)
