"""Suites from Postman collections, version 2.1: each folder becomes a journey, and what belongs together, one.

Variables of the collection are filled in; those that it does not define, and secrets, become variables of the
environment. What a script sets from the answer, as `pm.environment.set("id", pm.response.json().id)`, becomes `keep`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

from perflib.errors import SuiteError
from perflib.sources.draft import Draft, Journey, Request, Site, field, linked, mapped, variable
from perflib.sources.format import Format, from_draft
from perflib.sources.given import Given, table, tables, text
from perflib.sources.hiding import variable_name
from perflib.suite.redaction import names_secret

_VARIABLE: Final = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
_MADE: Final = {
    **dict.fromkeys(("$guid", "$randomUUID"), "uuid"),
    **{"$timestamp": "now|unix", "$isoTimestamp": "now", "$randomInt": "random|0..1000"},
}
_SET: Final = re.compile(
    r"""(?:pm\.(?:environment|collectionVariables|globals|variables)\.set|postman\.set\w+Variable)"""
    r"""\(\s*["']([\w.-]+)["']\s*,"""
    r"""\s*(?:pm\.response\.json\(\)|JSON\.parse\(responseBody\)|(\w+))((?:\.\w+|\[\d+\])*)\s*\)"""
)
_IS_JSON: Final = re.compile(r"(?:var|let|const)\s+(\w+)\s*=\s*(?:pm\.response\.json\(\)|JSON\.parse\(responseBody\))")
_HARMLESS: Final = re.compile(r"^\s*(?://.*)?$")
_MOST_HOPS: Final = 20
_HERE: Final = "http://127.0.0.1:8000"


def _recognises(given: Given) -> bool:
    found = table(given.json) if given.is_file else {}
    schema = text(table(found.get("info")).get("schema"))
    return isinstance(found.get("item"), list) and ("collection" in schema or "_postman_id" in table(found.get("info")))


def _read(given: Given) -> Draft:
    collection = table(given.json)
    if not isinstance(collection.get("item"), list):
        mend = "export the collection as version 2.1"
        raise SuiteError("no Postman collection: it has no `item`", where=given.name, mend=mend)
    name = text(table(collection.get("info")).get("name")) or given.name
    draft = Draft(name, f"the Postman collection {given.name}", {}, [])
    reader = _Reader(collection, draft)
    reader.walk(collection["item"], Journey(name, [], in_sequence=True), collection, top=True)
    if given.url is not None and draft.sites:
        next(iter(draft.sites.values())).url = given.url
    journeys = [journey for journey in reader.journeys if journey.requests]
    for journey in journeys:
        journey.load_remark = "four users, each of whom does all of it"
    draft.journeys = linked(journeys)
    return draft


class _Reader:
    """Turns the items of a collection into requests."""

    def __init__(self, collection: dict[str, Any], draft: Draft) -> None:
        self.draft, self.journeys = draft, []  # type: tuple[Draft, list[Journey]]
        self.variables = {text(each.get("key")): each for each in tables(collection.get("variable"))}
        self.set_by_scripts: set[str] = set()
        for script in _scripts(collection):
            self.set_by_scripts |= {match[1] for match in _SET.finditer(script)}

    def walk(self, items: Any, journey: Journey, parent: dict[str, Any], *, top: bool = False, depth: int = 0) -> None:
        """Add the requests of a folder to its journey. Folders in the collection itself have journeys of their own."""
        if top:
            self.journeys.append(journey)
        self._script_of(parent, text(parent.get("name")) or "the collection", None)
        for each in tables(items):
            item = {**each, "auth": each.get("auth") or parent.get("auth")}
            if isinstance(item.get("item"), list):
                inside = journey
                if top:
                    inside = Journey(text(item.get("name")) or "folder", [], in_sequence=True)
                    self.journeys.append(inside)
                self.walk(item["item"], inside, item, depth=depth + 1)
            elif item.get("request"):
                journey.requests.append(self._request(item))

    def _request(self, item: dict[str, Any]) -> Request:
        given = item["request"] if isinstance(item["request"], dict) else {"url": item["request"]}
        name = text(item.get("name"))
        request = Request((text(given.get("method")) or "GET").upper(), "/", name=name)
        self._url(request, given.get("url"), name)
        for header in tables(given.get("header")):
            if header.get("disabled") is True:
                request.remarks.append(f"disabled: header {text(header.get('key'))}")
            elif text(header.get("key")):
                request.headers[self.filled(text(header["key"]))] = self.filled(text(header.get("value")))
        self._body(request, table(given.get("body")), name)
        self._auth(request, table(given.get("auth") or item.get("auth")), name)
        self._script_of(item, name, request)
        return request

    def filled(self, written: str, hops: int = 0) -> str:
        """The text with its {{variables}} filled in."""

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name in _MADE:
                return field(_MADE[name])
            if name in self.set_by_scripts:
                return field(_plain_name(name))
            known = self.variables.get(name)
            content = known.get("value") if known is not None else None
            if content in (None, "") or text(table(known).get("type")) == "secret" or names_secret(name, str(content)):
                if name.startswith("$"):
                    self.draft.losses.append(f"{{{{{name}}}}}, a value that Postman makes")
                    return "example"
                return variable(variable_name(name))
            shown = content if isinstance(content, str) else json.dumps(content)
            return self.filled(shown, hops + 1) if hops < _MOST_HOPS else shown

        return _VARIABLE.sub(value, written)

    def _url(self, request: Request, given: Any, name: str) -> None:
        details = table(given)
        raw = given if isinstance(given, str) else text(details.get("raw"))
        path_values = {text(each.get("key")): str(each.get("value") or "") for each in tables(details.get("variable"))}
        raw = self.filled(raw.partition("?")[0])
        if raw.startswith("\ue001"):  # a base URL that the collection does not define
            base, _, rest = raw.partition("\ue002")
            self.draft.losses.append(f"{{{{{base[1:].lower()}}}}}, the URL of the server, which is not defined")
            raw = _HERE + rest
        parts = urlsplit(raw if "://" in raw else f"http://{raw}")
        path = "/".join(
            quote(self.filled(path_values.get(step[1:], "") or "1"), safe="\ue000\ue001\ue002|")
            if re.fullmatch(r":[\w-]+", step)
            else step
            for step in parts.path.split("/")
        )
        request.path = path or "/"
        if details.get("query") is not None:
            for pair in tables(details.get("query")):
                key = self.filled(text(pair.get("key")))
                if pair.get("disabled") is True:
                    request.remarks.append(f"disabled: parameter {key}")
                elif key:
                    request.params[key] = self.filled(text(pair.get("value")))
        elif isinstance(given, str) and "?" in given:
            request.path += "?" + self.filled(given.partition("?")[2])
        if parts.scheme not in ("http", "https") or not parts.hostname:
            request.left_out = "it has no URL of http or https"
            self.draft.losses.append(f"{name}: its URL")
            return
        request.site = self._site(urlunsplit((parts.scheme, parts.netloc, "", "", "")))

    def _site(self, url: str) -> str:
        for name, site in self.draft.sites.items():
            if site.url == url:
                return name
        name = "api" if not self.draft.sites else f"api{len(self.draft.sites) + 1}"
        self.draft.sites[name] = Site(url)
        return name

    def _body(self, request: Request, body: dict[str, Any], name: str) -> None:
        mode = text(body.get("mode"))
        if not mode or body.get("disabled") is True:
            return
        if mode == "raw":
            self._raw(request, text(body.get("raw")), body)
        elif mode == "urlencoded":
            pairs = [part for part in tables(body.get("urlencoded")) if part.get("disabled") is not True]
            request.body = ("form", {self.filled(text(p.get("key"))): self.filled(text(p.get("value"))) for p in pairs})
        elif mode == "formdata":
            request.body = ("multipart", dict(self._parts(body, name)))
        elif mode == "graphql":
            graphql = table(body.get("graphql"))
            variables = graphql.get("variables")
            try:
                variables = json.loads(variables) if isinstance(variables, str) and variables.strip() else variables
            except ValueError:
                self.draft.losses.append(f"{name}: the variables of a GraphQL query")
            value = {"query": text(graphql.get("query")), **({"variables": variables} if variables else {})}
            request.body = ("json", mapped(value, self.filled))
        elif mode == "file":
            self.draft.losses.append(f"{name}: the file that it sends")
            request.left_out = 'it sends a file: write body_file = "…"'

    def _raw(self, request: Request, raw: str, body: dict[str, Any]) -> None:
        kinds = {key.lower(): value for key, value in request.headers.items()}
        language = text(table(table(body.get("options")).get("raw")).get("language"))
        if not raw:
            return
        if language == "json" or "json" in kinds.get("content-type", "") or raw.lstrip()[:1] in ("{", "["):
            quoted = re.sub(r"(?<=[:\[,])(\s*)(\{\{[^{}]+\}\})(?=\s*[,}\]])", r'\1"\2"', raw)  # numbers from variables
            for candidate in (raw, quoted):
                try:
                    request.body = ("json", mapped(json.loads(candidate), self.filled))
                    return
                except (ValueError, RecursionError):
                    pass  # sent as a text
        request.body = ("body", self.filled(raw))
        kind = {"json": "application/json", "xml": "application/xml", "html": "text/html"}.get(language, "text/plain")
        if "content-type" not in kinds:
            request.headers["Content-Type"] = kind

    def _parts(self, body: dict[str, Any], name: str) -> Iterator[tuple[str, str]]:
        for part in tables(body.get("formdata")):
            key = self.filled(text(part.get("key")))
            if part.get("disabled") is True or not key:
                continue
            if part.get("type") == "file":
                self.draft.losses.append(f"{name}: the file {key}: a text is sent instead")
                yield key, "a file"
            else:
                yield key, self.filled(text(part.get("value")))

    def _auth(self, request: Request, auth: dict[str, Any], name: str) -> None:
        kind = text(auth.get("type"))
        values = {text(each.get("key")): self.filled(str(each.get("value") or "")) for each in tables(auth.get(kind))}
        if kind in ("", "noauth"):
            return
        if kind in ("bearer", "oauth2"):
            token = values.get("token") or values.get("accessToken") or variable("API_TOKEN")
            request.headers.setdefault("Authorization", f"Bearer {token}")
        elif kind == "basic":
            user, password = values.get("username", ""), values.get("password", "")
            if "\ue000" in user + password or "\ue001" in user + password or not password:
                request.headers.setdefault("Authorization", variable("AUTHORIZATION"))
                self.draft.losses.append(f"{name}: user and password: set AUTHORIZATION to 'Basic ' and their base64")
            else:
                encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
                request.headers.setdefault("Authorization", f"Basic {encoded}")
        elif kind == "apikey":
            key, value = values.get("key") or "X-Api-Key", values.get("value") or variable("API_KEY")
            if values.get("in") == "query":
                request.params[key] = value
            else:
                request.headers[key] = value
        else:
            self.draft.losses.append(f"{name}: authorization of the kind {kind}")

    def _script_of(self, item: dict[str, Any], name: str, request: Request | None) -> None:
        """Translate what a script keeps of the answer; say what else it has."""
        for event in tables(item.get("event")):
            listen, lines = text(event.get("listen")), _lines(event)
            script = "\n".join(lines)
            known = {match[1] for match in _IS_JSON.finditer(script)}
            taken = [match for match in _SET.finditer(script) if match[2] is None or match[2] in known]
            for match in taken if request is not None and listen == "test" else ():
                request.keep[_plain_name(match[1])] = f"${match[3]}"  # type: ignore[union-attr]
            rest = _SET.sub("", _IS_JSON.sub("", script))
            if any(re.search(r"\w", line) and not _HARMLESS.match(line) for line in rest.split("\n")):
                what = "test" if listen == "test" else listen or "script"
                self.draft.losses.append(f"{name}: its {what} script: write what it expects as `expect`")


def _scripts(item: Any) -> Iterator[str]:
    """The test scripts of an item and of all in it."""
    for event in tables(table(item).get("event")):
        if event.get("listen") == "test":
            yield "\n".join(_lines(event))
    for inner in tables(table(item).get("item")):
        yield from _scripts(inner)


def _lines(event: dict[str, Any]) -> list[str]:
    lines = table(event.get("script")).get("exec")
    return [text(line) for line in lines] if isinstance(lines, list) else text(lines).split("\n")


def _plain_name(name: str) -> str:
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII)
    return plain if plain[:1].isalpha() or plain[:1] == "_" else f"value_{plain}"


FORMAT = Format("postman", "a Postman collection, version 2.1", _recognises, from_draft(_read))
