"""Everything that performs I/O: Kafka, Redis, HTTP, webhooks, processes. No business rule lives here."""

DISTRIBUTION = "tidemark-alerts"
"""As the package is installed; the registry's `tidemark` is somebody else's. The command is called `tidemark`."""
