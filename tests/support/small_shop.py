"""A shop with a page, a log-in with a CSRF field, sessions, tokens and orders, which refuses whoever has not got them.

A browser records it, and a suite made from the recording must get past all of its checks.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

LOGIN = """<!doctype html><title>Log in</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/shop.css">
<form method="post" action="/login"><input type="hidden" name="csrf" value="%s">
<input name="user"><input name="password" type="password"><button>Log in</button></form>"""
SHOP = """<!doctype html><title>Shop</title><link rel="icon" href="data:,"><script>
(async () => {
  const session = await (await fetch("/api/session")).json();
  const headers = { "X-Token": session.token, "Content-Type": "application/json" };
  const items = await (await fetch("/api/items?limit=5", { headers })).json();
  const body = JSON.stringify({ item_id: items.items[1].id, amount: 2, note: null });
  const order = await (await fetch("/api/orders", { method: "POST", headers, body })).json();
  await fetch("/api/orders/" + order.id, { headers });
  document.title = "Bought";
})();
</script>"""


class Shop(ThreadingHTTPServer):
    """Its state: who is logged in, which tokens and orders there are. `refused`: why requests were."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.forms: set[str] = set()
        self.tokens: dict[str, str] = {}  # by session
        self.orders: dict[int, str] = {}
        self.numbers = itertools.count(70_001)
        self.refused: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Shop

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/login":
            self.server.forms.add(form := secrets.token_hex(16))
            self._answer(200, LOGIN % form, "text/html")
        elif path == "/shop.css":
            self._answer(200, "body { margin: 2em }", "text/css")
        elif self._session() is None:
            self._refuse("nobody is logged in")
        elif path == "/":
            self._answer(200, SHOP, "text/html")
        elif path == "/api/session":
            token = self.server.tokens[str(self._session())]
            self._answer(200, json.dumps({"user": "ada", "token": token}))
        elif not self._has_token():
            self._refuse("another token")
        elif path == "/api/items":
            self._answer(200, json.dumps({"items": [{"id": number, "name": "tea"} for number in (40_017, 40_018)]}))
        elif path.startswith("/api/orders/") and self.server.orders.get(int(path.split("/")[3])) == self._session():
            self._answer(200, json.dumps({"id": int(path.split("/")[3]), "state": "open"}))
        else:
            self._refuse("no such order")

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path == "/login":
            form = {name: values[0] for name, values in parse_qs(sent).items()}
            if form.get("csrf") not in self.server.forms or form.get("password") != "correct-horse-9":
                self._refuse("another form or password")
                return
            self.server.forms.discard(form["csrf"])
            session = secrets.token_urlsafe(24)
            self.server.tokens[session] = f"tok-{secrets.token_hex(20)}"
            self._answer(303, "", "text/plain", {"Location": "/", "Set-Cookie": f"sid={session}; Path=/; HttpOnly"})
        elif self.path == "/api/orders" and self._has_token() and json.loads(sent)["item_id"] in (40_017, 40_018):
            number = next(self.server.numbers)
            self.server.orders[number] = str(self._session())
            self._answer(201, json.dumps({"id": number, "state": "open"}))
        else:
            self._refuse("no order")

    def _session(self) -> str | None:
        cookies = dict(part.strip().partition("=")[::2] for part in self.headers.get("Cookie", "").split(";"))
        return cookies.get("sid") if cookies.get("sid") in self.server.tokens else None

    def _has_token(self) -> bool:
        return self.server.tokens.get(str(self._session())) == self.headers.get("X-Token")

    def _refuse(self, why: str) -> None:
        self.server.refused.append(f"{self.command} {self.path}: {why}")
        self._answer(403, why, "text/plain")

    def _answer(
        self, status: int, text: str, kind: str = "application/json", more: dict[str, str] | None = None
    ) -> None:
        content = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@contextlib.contextmanager
def small_shop() -> Iterator[tuple[str, Shop]]:
    """The shop's URL, and the shop."""
    with Shop() as shop:
        threading.Thread(target=shop.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{shop.server_address[1]}", shop
        shop.shutdown()


def record(url: str, file: str, chromium: str, flags: list[str]) -> None:
    """Have Chromium buy something, and save what it did as HAR."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        context = browser.new_context(record_har_path=file, record_har_content="embed")
        page = context.new_page()
        page.goto(f"{url}/login")
        page.fill("[name=user]", "ada")
        page.fill("[name=password]", "correct-horse-9")
        page.click("button")
        page.wait_for_function("document.title == 'Bought'")
        context.close()
        browser.close()
