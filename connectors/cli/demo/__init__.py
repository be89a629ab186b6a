"""`tidemark demo`: the whole path once, on one machine, as a user of the product would drive it.

workload ──► Kafka ──► tidemark up (its own processes) ──► signed webhooks ──► receiver
   └────────► expected: what must arrive, recomputed from the raw events ──► report
"""
