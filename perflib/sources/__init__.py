"""Suites from existing descriptions: the tools of an MCP server."""
