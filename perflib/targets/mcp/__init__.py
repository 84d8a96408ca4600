"""MCP servers over streamable HTTP and stdio, in both protocol eras, by a lean client or the official SDK's."""

from perflib.targets.mcp.target import McpTarget

__all__ = ["McpTarget"]
