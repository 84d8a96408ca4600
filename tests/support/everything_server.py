"""`python -m tests.support.everything_server` stands in for npm's example MCP server, which nothing here fetches.

It has that server's name, and those of its tools that the documentation names.
"""

from __future__ import annotations

import sys

from tests.support import mcp_servers


def main() -> None:
    properties = {
        key: {"type": "number", "description": f"{order} number"} for key, order in (("a", "First"), ("b", "Second"))
    }
    schema = {"type": "object", "properties": properties, "required": ["a", "b"]}
    mcp_servers.ABOUT["name"] = "mcp-servers/everything"
    mcp_servers.TOOLS += [{"name": "get-sum", "description": "Returns the sum of two numbers", "inputSchema": schema}]
    sys.argv = ["everything", "stdio"]
    mcp_servers.main()


if __name__ == "__main__":
    main()
