"""Access logs in the combined format, as nginx writes them."""

from __future__ import annotations


def log_of(lines: int) -> str:
    """A combined log: half of the requests are of items by their ids, and some have no good answer."""
    kinds = ["/items/{id}", "/", "/items/{id}?full=1", "/search?q=tea", "/items/{id}", "/old", "/missing", "/login"]
    text = ""
    for number in range(lines):
        path = kinds[number % len(kinds)].replace("{id}", str(100 + number % 7))
        status = {"/missing": 404, "/old": 301}.get(path, 200)
        method = "POST" if path == "/login" else "GET"
        time = f"10/Oct/2026:13:{number // 240:02}:{number // 4 % 60:02} +0200"
        text += f'10.0.0.{number % 250} - - [{time}] "{method} {path} HTTP/1.1" {status} 2326 "-" "Mozilla/5.0 (X11)"\n'
    return text
