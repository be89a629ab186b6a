"""Throughput and latency of the whole path on a real Apache Kafka: ``python -m benchmarks`` (``make bench``)."""
