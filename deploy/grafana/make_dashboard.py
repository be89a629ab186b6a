"""Writes deploy/grafana/dashboards/tidemark.json. Run it after a change: `python deploy/grafana/make_dashboard.py`.

A test compares the file with what this module gives, and every metric named here with connectors/metrics.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent / "dashboards" / "tidemark.json"
_DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
_WIDTH, _HEIGHT = 8, 7  # three panels a row on Grafana's grid of 24 columns

Query = tuple[str, str]  # PromQL, legend


def _rate(metric: str, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({metric}[$__rate_interval]))"


def _quantiles(histogram: str) -> list[Query]:
    return [
        (f"histogram_quantile({quantile}, sum by (le) (rate({histogram}_bucket[$__rate_interval])))", label)
        for quantile, label in ((0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"))
    ]


ROWS: list[tuple[str, list[tuple[str, str, list[Query]]]]] = [
    (
        "Is it healthy?",
        [
            ("From append to webhook", "s", _quantiles("tidemark_event_to_delivery_seconds")),
            ("From append to the receiver's 2xx", "s", _quantiles("tidemark_event_to_success_seconds")),
            ("Lag by partition (records)", "short", [("max by (partition) (tidemark_consumer_lag_records)", "{{partition}}")]),
            ("Alert transitions per second", "ops", [(_rate("tidemark_transitions_total", "type, to"), "{{type}} {{to}}")]),
        ],
    ),
    (
        "Intake",
        [
            (
                "Events per second",
                "ops",
                [
                    (_rate(f"tidemark_events_{kind}_total"), kind)
                    for kind in ("consumed", "applied", "duplicate", "rejected", "parked", "forwarded")
                ],
            ),
            ("Dead letters per second", "ops", [(_rate("tidemark_events_rejected_total", "reason"), "{{reason}}")]),
            (
                "Applied, but not for every metric, per second",
                "ops",
                [(_rate("tidemark_events_partial_total", "reason"), "{{reason}}")],
            ),
            ("Waiting for their customer", "short", [("sum(tidemark_parked_events)", "events")]),
            ("The same in memory", "bytes", [("sum(tidemark_parked_bytes)", "bytes")]),
            ("Group values counted as others, per second", "ops", [(_rate("tidemark_group_values_other_total"), "values")]),
            ("After finalization, per second", "ops", [(_rate("tidemark_events_after_finalization_total"), "events")]),
        ],
    ),
    (
        "Evaluation",
        [
            ("Batch size (events)", "short", _quantiles("tidemark_batch_events")),
            ("Batch time", "s", _quantiles("tidemark_batch_seconds")),
            ("Full evaluations per second", "ops", [(_rate("tidemark_evaluations_total"), "evaluations")]),
            ("Alerts that can never fire", "short", [("max(tidemark_alerts_unreachable)", "alerts")]),
        ],
    ),
    (
        "Commit to Redis",
        [
            ("Commit time", "s", _quantiles("tidemark_commit_seconds")),
            ("Refused commits per second", "ops", [(_rate("tidemark_commits_refused_total", "reason"), "{{reason}}")]),
            ("Position resets per second", "ops", [(_rate("tidemark_position_resets_total", "cause"), "{{cause}}")]),
        ],
    ),
    (
        "Webhooks",
        [
            ("Attempts per second, by outcome", "ops", [(_rate("tidemark_webhook_attempts_total", "outcome"), "{{outcome}}")]),
            ("Attempt time", "s", _quantiles("tidemark_webhook_attempt_seconds")),
            ("Deliveries that ended, per second", "ops", [(_rate("tidemark_webhook_deliveries_total", "result"), "{{result}}")]),
            (
                "Outbox",
                "short",
                [("max(tidemark_outbox_depth)", "waiting"), ("max(tidemark_webhook_retries_waiting)", "of these: retries")],
            ),
            (
                "Age of the oldest notification",
                "s",
                [("time() - max(tidemark_outbox_oldest_timestamp_seconds > 0)", "age")],
            ),
            ("Enabled endpoints", "short", [("max(tidemark_webhook_endpoints)", "endpoints")]),
            (
                "Deliveries in the log",
                "short",
                [
                    ("max(tidemark_webhook_log_deliveries)", "deliveries"),
                    ("max(tidemark_webhook_log_unwanted)", "wanted by no endpoint"),
                ],
            ),
            ("Memory of the log", "bytes", [("max(tidemark_webhook_log_bytes)", "ended deliveries")]),
        ],
    ),
    (
        "API",
        [
            ("Requests per second, by status", "ops", [(_rate("tidemark_http_requests_total", "status"), "{{status}}")]),
            ("Request time", "s", _quantiles("tidemark_http_request_seconds")),
            ("Ingested events per second", "ops", [(_rate("tidemark_ingest_events_total"), "events")]),
            ("Refused connections per second", "ops", [(_rate("tidemark_http_connections_refused_total"), "connections")]),
        ],
    ),
    (
        "Containment",
        [
            ("Customers in quarantine", "short", [("sum by (partition) (tidemark_quarantined_customers)", "{{partition}}")]),
            (
                "Into quarantine and out, per hour",
                "short",
                [
                    ("sum by (stage) (increase(tidemark_quarantine_entries_total[1h]))", "in: {{stage}}"),
                    ("sum(increase(tidemark_quarantine_released_total[1h]))", "out"),
                ],
            ),
            ("Partitions that stand still", "short", [("max by (partition) (tidemark_partition_stopped)", "{{partition}}")]),
            (
                "Stops of partitions, per hour",
                "short",
                [("sum by (error) (increase(tidemark_partition_stops_total[1h]))", "{{error}}")],
            ),
            (
                "Since the last commit",
                "s",
                [("time() - max by (partition) (tidemark_last_commit_timestamp_seconds > 0)", "{{partition}}")],
            ),
            ("Failed calls to Redis, per second", "ops", [(_rate("tidemark_redis_failures_total", "kind"), "{{kind}}")]),
            ("Clocks apart", "s", [("max by (role, source) (tidemark_clock_offset_seconds)", "{{role}}: {{source}}")]),
            (
                "Defects kept to one delivery, per second",
                "ops",
                [(_rate("tidemark_webhook_contained_total", "where"), "{{where}}")],
            ),
            (
                "Failed turns of background loops, per second",
                "ops",
                [(_rate("tidemark_loop_failures_total", "loop, cause"), "{{loop}}: {{cause}}")],
            ),
        ],
    ),
]


def dashboard() -> dict[str, Any]:
    panels: list[dict[str, Any]] = []
    y = 0
    for row, contents in ROWS:
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": row, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []}
        )
        y += 1
        for place, (title, unit, queries) in enumerate(contents):
            x, line = place % 3 * _WIDTH, place // 3
            position = {"x": x, "y": y + line * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}
            panels.append(_panel(len(panels) + 1, title, unit, queries, position))
        y += -(-len(contents) // 3) * _HEIGHT
    return {
        "uid": "tidemark",
        "title": "tidemark",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "5s",
        "time": {"from": "now-30m", "to": "now"},
        "panels": panels,
    }


def _panel(number: int, title: str, unit: str, queries: list[Query], position: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": title,
        "datasource": _DATASOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": _DATASOURCE, "expr": query, "legendFormat": legend}
            for place, (query, legend) in enumerate(queries)
        ],
    }


def rendered() -> str:
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    TARGET.write_text(rendered())
