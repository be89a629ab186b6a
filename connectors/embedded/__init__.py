"""A broker and a Redis-compatible server that come with the package: for trying out, never for real data."""
