"""A small shop to practise on: customers log in, look at the items, search, and order.

    python app.py                 a healthy shop at http://127.0.0.1:8000
    python app.py --slow          each search takes twelve times as long
    python app.py --bug           an order of more than five pieces fails
    python app.py --leak          each order leaves 20 kB in memory for ever

The variable SHOP switches the same things on: SHOP="slow leak".
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
except ImportError as error:
    sys.exit(f'the shop needs {error.name}: pip install "perflib-workbench[service]"')

PASSWORD = "lovelace"
FAULTS = {
    "slow": "each search takes twelve times as long",
    "bug": "an order of more than five pieces fails",
    "leak": "each order leaves 20 kB in memory for ever",
}
ITEMS = [{"id": number, "name": f"tea no. {number}", "price": 3 + number % 7} for number in range(1, 51)]
DATABASE_CONNECTIONS = 4
SEARCH_S, SLOW_SEARCH_S = 0.010, 0.120
MOST_ORDERS = 10_000


class Shop:
    """The shop's state, and what it answers.

    faults     the words of FAULTS that are switched on
    tokens     who is logged in, by token
    orders     the newest orders, by number
    """

    def __init__(self, faults: set[str]) -> None:
        self.faults = faults
        self.tokens: dict[str, str] = {}
        self.orders: dict[int, dict[str, object]] = {}
        self.number = 0
        self.forgotten: list[bytes] = []  # grows for ever with --leak
        self.database = asyncio.Semaphore(DATABASE_CONNECTIONS)

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/health", self.health),
                Route("/token", self.log_in, methods=["POST"]),
                Route("/items", self.items),
                Route("/search", self.search),
                Route("/orders", self.order, methods=["POST"]),
                Route("/orders/{number:int}", self.show_order),
            ]
        )

    async def health(self, request: Request) -> Response:
        return JSONResponse({"faults": sorted(self.faults)})

    async def log_in(self, request: Request) -> Response:
        sent = await request.json()
        if sent.get("password") != PASSWORD:
            return JSONResponse({"detail": "wrong password"}, 403)
        token = secrets.token_hex(16)
        self.tokens[token] = str(sent.get("user"))
        return JSONResponse({"access_token": token, "expires_in": 3600})

    async def items(self, request: Request) -> Response:
        limit = int(request.query_params.get("limit", 10))
        return JSONResponse({"items": ITEMS[:limit]})

    async def search(self, request: Request) -> Response:
        """Waits for one of the database's few connections, and then for the database."""
        async with self.database:
            await asyncio.sleep(SLOW_SEARCH_S if "slow" in self.faults else SEARCH_S)
        words = request.query_params.get("q", "")
        return JSONResponse({"items": [item for item in ITEMS if words in str(item["name"])]})

    async def order(self, request: Request) -> Response:
        user = self.user_of(request)
        if user is None:
            return JSONResponse({"detail": "log in first: POST /token"}, 401)
        sent = await request.json()
        pieces = int(sent["pieces"])
        if "bug" in self.faults and pieces > 5:
            return JSONResponse({"detail": "no box is large enough for so many pieces"}, 500)
        if "leak" in self.faults:
            self.forgotten.append(bytes(20_000))
        self.number += 1
        self.orders[self.number] = {"number": self.number, "user": user, "item": sent["item"], "pieces": pieces}
        self.orders.pop(self.number - MOST_ORDERS, None)
        return JSONResponse(self.orders[self.number], 201)

    async def show_order(self, request: Request) -> Response:
        order = self.orders.get(request.path_params["number"])
        if order is None or order["user"] != self.user_of(request):
            return JSONResponse({"detail": "you have no such order"}, 404)
        return JSONResponse(order)

    def user_of(self, request: Request) -> str | None:
        """Whose token the request carries; None where it has none that the shop gave."""
        return self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))


def main() -> None:
    parser = argparse.ArgumentParser(description="A small shop to practise load tests on.")
    parser.add_argument("--port", type=int, default=8000)
    for fault, meaning in FAULTS.items():
        parser.add_argument(f"--{fault}", action="store_true", help=meaning)
    options = vars(parser.parse_args())
    faults = {fault for fault in FAULTS if options[fault] or fault in os.environ.get("SHOP", "").split()}
    print(f"the shop is open at http://127.0.0.1:{options['port']}", flush=True)
    uvicorn.run(Shop(faults).app, port=options["port"], log_level="warning")


if __name__ == "__main__":
    main()
