"""The same tool by FastMCP. Arguments: `stdio`, or `http PORT json|sse stateful|stateless`."""

import sys

from fastmcp import FastMCP  # type: ignore[import-not-found]

server = FastMCP("ladder-fastmcp")


@server.tool
def add(a: int, b: int) -> int:
    return a + b


if sys.argv[1] == "stdio":
    server.run("stdio", show_banner=False, log_level="ERROR")
else:
    _, _, port, answers, sessions = sys.argv
    server.run(
        "http",
        host="127.0.0.1",
        port=int(port),
        json_response=answers == "json",
        stateless_http=sessions == "stateless",
        show_banner=False,
        log_level="ERROR",
        uvicorn_config={"access_log": False},
    )
