"""How an HTTP request is built, sent on a connection of its own, followed, read and judged."""
