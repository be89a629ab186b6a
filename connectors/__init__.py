"""Everything that performs I/O: Kafka, Redis, HTTP, webhooks, processes. No business rule lives here."""
