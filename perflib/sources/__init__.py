"""Suites from what exists: the tools of an MCP server."""
