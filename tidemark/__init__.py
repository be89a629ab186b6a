"""What others may import: ``tidemark.webhooks``."""
