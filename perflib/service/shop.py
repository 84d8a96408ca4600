"""A small shop with sessions, for suites that log in: a form with a CSRF token, cookies, an upload."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Final

from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

PASSWORD: Final = "open sesame"
_MOST_SESSIONS: Final = 10_000
_LONGEST_UPLOAD: Final = 1_000_000


class Shop:
    """The sessions and uploads of a shop.

    users     the user of each session; the oldest sessions end first
    uploads   user and bytes of the latest uploads
    """

    def __init__(self) -> None:
        self.users: OrderedDict[str, str] = OrderedDict()
        self.uploads: list[tuple[str, bytes]] = []
        self._tokens: OrderedDict[str, str] = OrderedDict()  # the CSRF token of each visitor

    @property
    def app(self) -> Starlette:
        app = Starlette(
            routes=[
                Route("/login", self._form),
                Route("/login", self._log_in, methods=["POST"]),
                Route("/account", self._account),
                Route("/photos", self._upload, methods=["POST"]),
                Route("/items", self._items),
            ]
        )
        app.add_middleware(GZipMiddleware)
        return app

    async def _form(self, request: Request) -> Response:
        visitor, token = secrets.token_hex(8), secrets.token_hex(8)
        _add(self._tokens, visitor, token)
        page = f'<form method="post"><input type="hidden" name="csrf" value="{token}"><input name="user"></form>'
        answer = Response(page, media_type="text/html")
        answer.set_cookie("visitor", visitor, httponly=True)
        return answer

    async def _log_in(self, request: Request) -> Response:
        visitor = request.cookies.get("visitor", "")
        async with request.form() as form:
            if not visitor or form.get("csrf") != self._tokens.pop(visitor, ""):
                return JSONResponse({"detail": "the form is too old"}, 403)
            if form.get("password") != PASSWORD:
                return JSONResponse({"detail": "wrong password"}, 403)
            session = secrets.token_hex(16)
            _add(self.users, session, str(form.get("user", "")))
        answer = RedirectResponse("account", 303)
        answer.set_cookie("session", session, httponly=True)
        answer.delete_cookie("visitor")
        return answer

    def _user(self, request: Request) -> str | None:
        return self.users.get(request.cookies.get("session", ""))

    async def _account(self, request: Request) -> Response:
        user = self._user(request)
        if user is None:
            return JSONResponse({"detail": "not logged in"}, 401)
        return JSONResponse({"user": user}, headers={"X-CSRF": _csrf(request)})

    async def _upload(self, request: Request) -> Response:
        user = self._user(request)
        if user is None or request.headers.get("x-csrf") != _csrf(request):
            return JSONResponse({"detail": "not logged in, or no X-CSRF header"}, 403)
        async with request.form(max_files=1, max_fields=10) as form:
            file = form.get("photo")
            if file is None or isinstance(file, str):
                return JSONResponse({"detail": "no photo"}, 400)
            self.uploads = [*self.uploads[-99:], (user, await file.read(_LONGEST_UPLOAD))]
        return JSONResponse({"name": file.filename}, 201)

    async def _items(self, request: Request) -> Response:
        if self._user(request) is None:
            return JSONResponse({"detail": "not logged in"}, 401)
        return JSONResponse({"items": [{"id": n, "name": f"item {n}", "in_stock": n % 3 > 0} for n in range(300)]})


def _csrf(request: Request) -> str:
    return f"of-{request.cookies.get('session', '')[:8]}"


def _add(entries: OrderedDict[str, str], name: str, value: str) -> None:
    entries[name] = value
    if len(entries) > _MOST_SESSIONS:
        entries.popitem(last=False)
