"""The command `tidemark`: roles, supervisor, tokens, demo."""
