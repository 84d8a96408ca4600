"""The target kind `http`: how a request is built, sent on a connection, followed, read and judged."""

from perflib.targets.http.target import HttpTarget

__all__ = ["HttpTarget"]
