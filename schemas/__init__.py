"""What crosses a boundary: usage events, API bodies, stored documents, webhook payloads."""
