"""One tool by the official Python SDK. Arguments: `stdio`, or `http PORT json|sse stateful|stateless`."""

import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("ladder-python-sdk", log_level="ERROR")


@server.tool()
def add(a: int, b: int) -> int:
    return a + b


if sys.argv[1] == "stdio":
    server.run("stdio")
else:
    _, _, port, answers, sessions = sys.argv
    server.run(
        "streamable-http",
        host="127.0.0.1",
        port=int(port),
        json_response=answers == "json",
        stateless_http=sessions == "stateless",
    )
