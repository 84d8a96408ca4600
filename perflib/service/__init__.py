"""The reference service: validates Markdown documents. One set of operations, by direct call, REST and MCP."""
