"""Secrets of a description become variables of the environment: `Authorization: Bearer abc` is "Bearer ${API_TOKEN}".

A secret is found by the name that it stands under (a header, a field of a body, a part of a query), or by what it looks
like, and is then replaced wherever else it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit, urlunsplit

from perflib.sources.draft import REFERENCE, Draft, Request, Site, mapped, pieces, variable
from perflib.suite.redaction import (
    learn_secret,
    names_secret,
    names_secrets,
    secrets_in,
    without_credentials,
    without_known,
    words_without_secrets,
)

_SCHEME: Final = re.compile(r"(Bearer|Basic|Token|Digest|ApiKey|Key)[ \t]+(.+)", re.IGNORECASE | re.DOTALL)
_SHORTEST: Final = 6  # characters of a secret that is replaced wherever it stands
_RANDOM: Final = re.compile(r"(?=.*\d)(?=.*[A-Za-z]).{8,}|.{20,}", re.DOTALL)  # what a cookie with a session looks like
_XML: Final = re.compile(r"(<([\w:.-]{1,60})>)([^<>]+)(?=</\2>)")


def variable_name(name: str) -> str:
    """The environment variable for a header or a parameter: X-Api-Key is X_API_KEY, and so is xApiKey."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    plain = re.sub(r"[^A-Z0-9]+", "_", words.upper()).strip("_")
    return plain if plain[:1].isalpha() else f"HEADER_{plain}".rstrip("_")


def is_secret_part(name: str, value: str) -> bool:
    """Whether this part of a query usually has a secret, as token=… has."""
    written = f"?{quote_plus(name)}={quote_plus(value)}"
    return bool(value) and (names_secret(name, value) or without_credentials(written) != written)


class Secrets:
    """The secrets of a draft. `values`: by the name of the variable that stands for each."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        self._variables: dict[str, str] = {}

    def hide(self, draft: Draft) -> None:
        """Replace the secrets of all requests, first where a name says that there is one, then wherever else."""
        requests = [request for journey in draft.journeys for request in journey.requests]
        for site in draft.sites.values():
            site.headers = {name: self._header(name, value) for name, value in site.headers.items()}
            self._user_of(site)
        for request in requests:
            self._by_name(request)
        self._elsewhere()
        for request in requests:
            self._replace(request)
        for site in draft.sites.values():
            site.url, site.remarks = self.out_of(site.url), [self.out_of(remark) for remark in site.remarks]
            site.headers, site.keys = mapped(site.headers, self.out_of), mapped(site.keys, self.out_of)
        draft.name, draft.made_from = self.out_of(draft.name), self.out_of(draft.made_from)
        draft.losses = [self.out_of(loss) for loss in draft.losses]
        draft.remarks = [self.out_of(remark) for remark in draft.remarks]
        for journey in draft.journeys:
            journey.name, journey.remarks = self.out_of(journey.name), [self.out_of(one) for one in journey.remarks]

    def out_of(self, text: str) -> str:
        """The text with variables for its secrets, and without what looks like one."""
        if self._pattern is not None:
            text = self._pattern.sub(lambda match: variable(self._variables[match[0]]), text)
        return without_known(text)

    def are_in(self, text: str) -> bool:
        """Whether one of them is in a text, or what looks like one."""
        looks_like = (secret.lower() for secret in secrets_in(text, {}))
        return self.out_of(text) != text or any(secret not in words_without_secrets() for secret in looks_like)

    def note(self, name: str, value: str) -> str:
        """What stands for a secret of this name: its variable."""
        known = next((key for key, other in self.values.items() if other == value), None)
        if known is None:
            number, known = 1, variable_name(name) or "SECRET"
            while known in self.values:
                number += 1
                known = f"{variable_name(name)}_{number}"
            self.values[known] = value
        return variable(known)

    def _user_of(self, site: Site) -> None:
        """Move the user of a URL, https://ann:pw@host, to the site's `auth`."""
        parts = urlsplit(site.url)
        if "@" not in parts.netloc:
            return
        user, separator, password = parts.netloc.rpartition("@")[0].partition(":")
        named = unquote(user) if separator else self.note("API_TOKEN", unquote(user))
        hidden = self.note("PASSWORD", unquote(password)) if password else ""
        site.url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        site.keys.setdefault("auth", {"kind": "basic", "user": named or "user", "password": hidden})

    def _by_name(self, request: Request) -> None:
        request.headers = {name: self._header(name, value) for name, value in request.headers.items()}
        request.params = {name: self._part(name, value) for name, value in request.params.items()}
        before, mark, query = request.path.partition("?")
        if mark:
            self._query(request, before, query)
        if request.body is None:
            return
        key, content = request.body
        if key == "body":
            content = self._text(content)
        elif key != "body_file":
            content = self._value("", content)
        request.body = (key, content)

    def _header(self, name: str, value: str) -> str:
        if REFERENCE.fullmatch(value) or not value:
            return value
        if name.lower() in ("cookie", "authorization", "proxy-authorization") or names_secret(name, value):
            scheme = _SCHEME.fullmatch(value)
            if scheme is None or name.lower() == "cookie":
                if name.lower() == "cookie":
                    self._cookies(value)
                return self.note(name, value)
            if REFERENCE.fullmatch(scheme[2]):
                return value
            is_bearer = scheme[1].lower() == "bearer"
            return f"{scheme[1]} {self.note('API_TOKEN' if is_bearer else name, scheme[2])}"
        return self._text(value)

    def _cookies(self, header: str) -> None:
        """Note the cookies of a header that look like sessions, since they may stand elsewhere too."""
        for part in header.split(";"):
            name, _, value = part.strip().partition("=")
            if _RANDOM.fullmatch(value) or (len(value) >= _SHORTEST and names_secret(name, value)):
                self.note(name, value)

    def _query(self, request: Request, path: str, query: str) -> None:
        """Move a query with secrets to `params`, which are encoded; leave another one as it is."""
        pairs = [tuple(map(unquote_plus, part.partition("=")[::2])) for part in query.split("&") if part]
        hidden = [(name, self._part(name, value)) for name, value in pairs]
        if hidden == pairs:
            return
        request.path = path
        for name, value in hidden:
            before = request.params.get(name, ...)
            several = before if isinstance(before, list) else [before]
            request.params[name] = value if before is ... else [*several, value]

    def _part(self, name: str, value: Any) -> Any:
        """The value of a part of a query, as its variable if such a part usually has a secret."""
        if isinstance(value, str) and not REFERENCE.fullmatch(value) and is_secret_part(name, value):
            return self.note(name, value)
        return self._value(name, value)

    def _value(self, name: str, value: Any, is_secret: bool = False) -> Any:
        """The value of a JSON field or of a form, as a variable where it is a secret."""
        if isinstance(value, Mapping):
            whole = is_secret or names_secrets(name)
            return {key: self._value(str(key), inner, whole) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(name, inner, is_secret) for inner in value]
        if isinstance(value, bool) or value is None or value == "":
            return value
        if isinstance(value, str) and REFERENCE.fullmatch(value):
            return value
        if (is_secret and isinstance(value, str)) or names_secret(name, value):
            return self.note(name, str(value))
        return self._text(value) if isinstance(value, str) else value

    def _text(self, text: str) -> str:
        """A text in which something looks like a secret: as a JSON body, as `password=…`, as a JSON Web Token."""
        for secret in sorted(secrets_in(text, {}), key=len, reverse=True):
            if not REFERENCE.search(secret) and secret.lower() not in words_without_secrets():
                text = text.replace(secret, self.note(_name_before(text, secret), secret))
        return _XML.sub(
            lambda match: match[1] + self.note(match[2], match[3]) if names_secret(match[2], match[3]) else match[0],
            text,
        )

    def _elsewhere(self) -> None:
        """Get ready to replace the noted secrets wherever they stand, as they are or encoded."""
        for name, value in self.values.items():
            if len(value) >= _SHORTEST and value.lower() not in words_without_secrets():
                for form in (value, quote(value, safe=""), quote(value), quote_plus(value), escape(value)):
                    self._variables.setdefault(form, name)
                self._variables.setdefault(json.dumps(value)[1:-1], name)
                if ";" not in value:  # the parts of a whole Cookie header were noted by themselves
                    learn_secret(value)
        if self._variables:
            longest_first = sorted(self._variables, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def _replace(self, request: Request) -> None:
        before = list(pieces(request))
        request.path, request.params = self.out_of(request.path), mapped(request.params, self.out_of)
        request.headers = mapped(request.headers, self.out_of)
        if request.body is not None:
            request.body = (request.body[0], mapped(request.body[1], self.out_of))
        request.name = self.out_of(request.name)
        request.remarks = [self.out_of(remark) for remark in request.remarks]
        request.keep = mapped(request.keep, self.out_of)
        if str(list(pieces(request))).count("•••") > str(before).count("•••"):
            request.left_out = request.left_out or "it has a secret in a form that no variable can fill in"


def _name_before(text: str, secret: str) -> str:
    """The word that a secret stands behind, as password in `password=abc`; "SECRET" if there is none."""
    found = re.search(rf"([A-Za-z][\w-]{{1,40}})[\"']?\s*[:=]\s*[\"']?(?:Bearer |Basic )?{re.escape(secret)}", text)
    return found[1] if found else "SECRET"
