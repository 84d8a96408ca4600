"""Suites from OpenAPI 3.0 and 3.1 descriptions: parameters and bodies from examples, else from their schemas."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from perflib.errors import SuiteError
from perflib.sources.draft import Draft, Journey, Request, Site, variable
from perflib.sources.examples import example
from perflib.sources.format import Format, from_draft
from perflib.sources.given import Given, table, tables, text
from perflib.sources.hiding import variable_name
from perflib.sources.mcp_suite import first_line
from perflib.suite.redaction import names_secret
from perflib.text import one_line

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
_MOST_OPERATIONS: Final = 2_000
_MOST_REFERENCES: Final = 1_000  # that one schema may reach
_MOST_HOPS: Final = 50  # from reference to reference
_MOST_SECONDS: Final = 60.0  # for all examples together
_JSON: Final = re.compile(r"application/(?:[\w.-]+\+)?json\b|\*/\*", re.IGNORECASE)
_HERE: Final = "http://127.0.0.1:8000"


def _recognises(given: Given) -> bool:
    found = table(given.data) if given.is_file else {}
    return ("paths" in found and ("openapi" in found or "swagger" in found)) or ("openapi" in found and "info" in found)


def _read(given: Given) -> Draft:
    document = table(given.data)
    version = text(document.get("openapi"))
    if not re.match(r"3\.\d", version):
        what = "Swagger 2.0" if "swagger" in document else "no OpenAPI 3 description: it has no `openapi: 3.…`"
        mend = "convert it to OpenAPI 3, which the editors of OpenAPI do"
        raise SuiteError(what, where=given.name, mend=mend)
    if document.get("paths") is not None and not isinstance(document["paths"], dict):
        raise SuiteError("`paths` is no table", where=f"{given.name}: paths", mend="list the paths by their names")
    reader = _Reader(document, given)
    requests = list(reader.requests())
    title = text(table(document.get("info")).get("title")) or given.name
    draft = Draft(title, f"OpenAPI {version}, {given.name}", {"api": reader.site}, [Journey("calls", requests)])
    draft.losses = reader.losses
    if document.get("webhooks"):
        draft.losses.append(f"{len(table(document['webhooks']))} webhooks, which the server sends by itself")
    return draft


class _Reader:
    """Reads the operations of one document."""

    def __init__(self, document: dict[str, Any], given: Given) -> None:
        self.document, self.given = document, given
        self.losses: list[str] = []
        self.site = self._site()
        self.schemes = table(table(document.get("components")).get("securitySchemes"))
        self._until = time.monotonic() + _MOST_SECONDS

    def requests(self) -> Iterator[Request]:
        """One request for each operation."""
        number = 0
        for path, given in table(self.document.get("paths")).items():
            item = table(self.resolved(given))
            for method in _METHODS:
                operation = item.get(method)
                if not isinstance(operation, dict):
                    continue
                number += 1
                if number > _MOST_OPERATIONS:
                    continue
                yield self._request(method.upper(), path, item, operation)
        if number > _MOST_OPERATIONS:
            self.losses.append(f"all after the first {_MOST_OPERATIONS:,} of {number:,} operations")

    def resolved(self, value: Any) -> Any:
        """The value that a `$ref` within the document stands for; None if there is none."""
        for _ in range(_MOST_HOPS):
            reference = table(value).get("$ref")
            if not isinstance(reference, str):
                return value
            value = self._at(reference)
        self.losses.append("a reference that leads to itself")
        return None

    def _at(self, reference: str) -> Any:
        if not reference.startswith("#"):
            self.losses.append(f"{reference}: a reference to another file; bundle the description into one file")
            return None
        found: Any = self.document
        for step in reference.removeprefix("#").split("/")[1:]:
            key = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            elif isinstance(found, dict) and key in found:
                found = found[key]
            else:
                self.losses.append(f"{reference}: there is no such part")
                return None
        return found

    def _site(self) -> Site:
        server = next(iter(tables(self.document.get("servers"))), {})
        variables = table(server.get("variables"))
        url = re.sub(
            r"\{([^{}]*)\}",
            lambda match: str(table(variables.get(match[1])).get("default", match[0])),
            text(server.get("url")) or "/",
        ).rstrip("/")
        for other in tables(self.document.get("servers"))[1:]:
            self.losses.append(f"the server {text(other.get('url'))}: only the first is loaded")
        if self.given.url is not None:
            return Site(self.given.url)
        if urlsplit(url).scheme in ("http", "https") and "{" not in url:
            return Site(url)
        base = url if url.startswith("/") and "{" not in url else ""
        return Site(_HERE + base, remarks=["The description does not say at which host it is: set the URL."])

    def _request(self, method: str, path: str, item: dict[str, Any], operation: dict[str, Any]) -> Request:
        request = Request(method, path if path.startswith("/") else f"/{path}")
        request.name = text(operation.get("operationId")) or f"{method} {path}"
        said = first_line(operation.get("summary")) or first_line(operation.get("description"))
        request.remarks = [one_line(said, 110)] if said else []
        if operation.get("deprecated") is True:
            request.remarks.append("deprecated")
        name = f"{method} {path}"
        if operation.get("servers") or item.get("servers"):
            self.losses.append(f"{name}: a server of its own")
        if operation.get("callbacks"):
            self.losses.append(f"{name}: callbacks, which the server sends by itself")
        self._parameters(request, item, operation, name)
        if "requestBody" in operation:
            self._body(request, table(self.resolved(operation["requestBody"])), name)
        self._security(request, operation, name)
        self._statuses(request, table(operation.get("responses")))
        return request

    def _parameters(self, request: Request, item: dict[str, Any], operation: dict[str, Any], name: str) -> None:
        every: dict[tuple[str, str], dict[str, Any]] = {}
        for group in (item.get("parameters"), operation.get("parameters")):
            for given in group if isinstance(group, list) else ():
                parameter = table(self.resolved(given))
                every[text(parameter.get("in")), text(parameter.get("name"))] = parameter
        optional = []
        for (place, key), parameter in every.items():
            if not key:
                continue
            is_needed = parameter.get("required") is True or place == "path"
            found, value = self._example(parameter)
            if not (is_needed or found):
                optional.append(key)
                continue
            self._place(request, place, key, parameter, value, name)
        if optional:
            request.remarks.append(f"further parameters: {one_line(', '.join(optional), 200)}")
        for key in re.findall(r"\{([^{}/]+)\}", request.path):
            self.losses.append(f"{name}: {{{key}}} is not described")
            request.path = request.path.replace(f"{{{key}}}", "1")

    def _place(self, request: Request, place: str, key: str, parameter: dict[str, Any], value: Any, name: str) -> None:
        explodes = parameter.get("explode", parameter.get("style", "form") == "form" and place in ("query", "cookie"))
        if "content" in parameter:
            value = json.dumps(value)
        if place == "query":
            if isinstance(value, dict):
                deep = parameter.get("style") == "deepObject"
                for inner, entry in value.items():
                    request.params[f"{key}[{inner}]" if deep else inner] = _written(entry)
            elif isinstance(value, list) and explodes:
                request.params[key] = [_written(entry) for entry in value]
            else:
                between = {"spaceDelimited": " ", "pipeDelimited": "|"}.get(text(parameter.get("style")), ",")
                request.params[key] = between.join(map(_written, value)) if isinstance(value, list) else _written(value)
        elif place == "path":
            written = ",".join(map(_written, value)) if isinstance(value, list) else _written(value)
            if names_secret(key, written):
                written = variable(variable_name(key))
                request.path = request.path.replace(f"{{{key}}}", written)
            else:
                request.path = request.path.replace(f"{{{key}}}", quote(written, safe=",") or "1")
            if parameter.get("style") in ("label", "matrix"):
                self.losses.append(f"{name}: the style of {key}")
        elif place == "header":
            if key.lower() not in ("accept", "content-type", "authorization"):
                request.headers[key] = _written(value)
        elif place == "cookie":
            before = request.headers.get("Cookie")
            request.headers["Cookie"] = f"{before}; {key}={_written(value)}" if before else f"{key}={_written(value)}"

    def _example(self, described: dict[str, Any]) -> tuple[bool, Any]:
        """Whether the description itself has an example, and that or one of its schema."""
        if "example" in described:
            return True, described["example"]
        for each in table(described.get("examples")).values():
            found = table(self.resolved(each))
            if "value" in found:
                return True, found["value"]
        content = next(iter(table(described.get("content")).values()), None)
        if isinstance(content, dict):
            return self._example(content)
        schema = described.get("schema", {})
        plain = table(self.resolved(schema))
        named = any(key in plain for key in ("example", "examples", "default"))
        return named, self._of_schema(schema)

    def _of_schema(self, schema: Any, *, is_body: bool = False) -> Any:
        if time.monotonic() > self._until:
            self.losses.append("examples of further schemas, which took too long")
            return None
        return example(self._self_contained(schema, is_body=is_body))

    def _self_contained(self, schema: Any, *, is_body: bool) -> Any:
        """The schema with all that its references lead to, in `$defs`."""
        names: dict[str, str] = {}
        waiting: list[str] = []

        def copied(part: Any) -> Any:
            if isinstance(part, list):
                return [copied(inner) for inner in part]
            if not isinstance(part, dict):
                return part
            rest = {key: copied(inner) for key, inner in part.items() if key != "$ref"}
            reference = part.get("$ref")
            if isinstance(reference, str) and (reference in names or len(names) < _MOST_REFERENCES):
                if reference not in names:
                    names[reference] = f"d{len(names)}"
                    waiting.append(reference)
                rest["$ref"] = f"#/$defs/{names[reference]}"
            return _without_read_only(rest, self) if is_body else rest

        whole, definitions = copied(schema), {}
        while waiting:
            reference = waiting.pop()
            definitions[names[reference]] = copied(self._at(reference))
        return {**whole, "$defs": definitions} if isinstance(whole, dict) and definitions else whole

    def _body(self, request: Request, described: dict[str, Any], name: str) -> None:
        contents = table(described.get("content"))
        kind = next((kind for kind in contents if _JSON.match(kind)), None) or next(
            (kind for kind in contents if re.match(r"multipart/form-data|application/x-www-form", kind)), None
        )
        kind = kind or next(iter(contents), None)
        if kind is None:
            return
        content = table(contents[kind])
        found, value = self._example({key: content[key] for key in ("example", "examples") if key in content})
        if not found:
            value = self._of_schema(content.get("schema", {}), is_body=True)
        if _JSON.match(kind):
            request.body = ("json", value)
            if not kind.startswith(("application/json", "*/*")):
                request.headers["Content-Type"] = kind
        elif kind.startswith("application/x-www-form-urlencoded") and isinstance(value, dict):
            request.body = ("form", {key: _written(entry) for key, entry in value.items()})
        elif kind.startswith("multipart/form-data") and isinstance(value, dict):
            request.body = ("multipart", {key: _written(entry) for key, entry in value.items()})
            properties = table(table(self.resolved(content.get("schema"))).get("properties"))
            for key in properties:
                if table(self.resolved(properties[key])).get("format") == "binary" and key in value:
                    self.losses.append(f"{name}: the file {key}: a text is sent instead")
        elif isinstance(value, str):
            request.body = ("body", value)
            request.headers["Content-Type"] = "text/plain" if "*" in kind else kind
        else:
            self.losses.append(f"{name}: a body of {kind}")
            request.left_out = f"its body of {kind} has no example"

    def _security(self, request: Request, operation: dict[str, Any], name: str) -> None:
        """What says who sends the request: the first choice that can be written."""
        choices = operation.get("security", self.document.get("security"))
        needed: dict[str, Any] = next((each for each in tables(choices)), {})
        if any(not each for each in tables(choices)) and len(tables(choices)) == 1:
            return
        for scheme_name in needed:
            scheme = table(self.resolved(self.schemes.get(scheme_name)))
            self._credential(request, scheme_name, scheme, name)

    def _credential(self, request: Request, scheme_name: str, scheme: dict[str, Any], name: str) -> None:
        kind, place, key = text(scheme.get("type")), text(scheme.get("in")), text(scheme.get("name"))
        secret = variable(variable_name(scheme_name))
        if kind == "apiKey" and key and place == "query":
            request.params[key] = secret
        elif kind == "apiKey" and key and place == "cookie":
            before = request.headers.get("Cookie")
            request.headers["Cookie"] = f"{before}; {key}={secret}" if before else f"{key}={secret}"
        elif kind == "apiKey" and key:
            request.headers[key] = secret
        elif kind == "http" and text(scheme.get("scheme")).lower() == "basic":
            user, password = (variable(f"{variable_name(scheme_name)}_{word}") for word in ("USER", "PASSWORD"))
            self.site.keys.setdefault("auth", {"kind": "basic", "user": user, "password": password})
        elif kind == "oauth2" and "clientCredentials" in table(scheme.get("flows")):
            self._client_credentials(scheme_name, table(table(scheme["flows"])["clientCredentials"]))
        elif (kind == "http" and text(scheme.get("scheme")).lower() == "bearer") or kind in ("oauth2", "openIdConnect"):
            request.headers["Authorization"] = f"Bearer {secret}"
        else:
            self.losses.append(f"{name}: the security scheme {scheme_name}")

    def _client_credentials(self, scheme_name: str, flow: dict[str, Any]) -> None:
        """A token by OAuth 2.0, which each worker gets before the load."""
        name = variable_name(scheme_name)
        auth: dict[str, Any] = {"kind": "oauth", "token_url": text(flow.get("tokenUrl"))}
        auth |= {"client_id": variable(f"{name}_ID"), "client_secret": variable(f"{name}_SECRET")}
        if scopes := " ".join(table(flow.get("scopes"))):
            auth["scope"] = scopes
        if not urlsplit(auth["token_url"]).scheme:
            auth["token_url"] = self.site.url + "/" + auth["token_url"].lstrip("/")
        self.site.keys.setdefault("auth", auth)

    def _statuses(self, request: Request, responses: dict[str, Any]) -> None:
        """Expect a redirect where no better answer is described."""
        statuses = [int(status) for status in responses if status.isdigit()]
        if statuses and not any(status < 300 for status in statuses) and "default" not in responses:
            request.statuses = [status for status in statuses if status < 400]


def _without_read_only(schema: dict[str, Any], reader: _Reader) -> dict[str, Any]:
    """The schema without the properties that only answers have."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return schema
    hidden = {name for name, inner in properties.items() if table(inner).get("readOnly") is True}
    if not hidden:
        return schema
    required = [name for name in schema.get("required") or () if name not in hidden]
    return {**schema, "properties": {k: v for k, v in properties.items() if k not in hidden}, "required": required}


def _written(value: Any) -> str:
    """A value as a parameter has it: texts as they are, all else as JSON."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


FORMAT = Format("openapi", "OpenAPI 3.0 or 3.1, as YAML or JSON", _recognises, from_draft(_read))
