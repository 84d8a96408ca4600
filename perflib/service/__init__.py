"""The reference service: validates Markdown documents. One set of functions, reached by direct call, MCP and REST."""
