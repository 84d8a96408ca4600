"""Suites from curl command lines, as documentation shows them and as browsers copy them (bash and Windows' cmd)."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl, quote_plus, urlsplit, urlunsplit

from perflib.errors import SuiteError
from perflib.sources.draft import Draft, Journey, Request, Site
from perflib.sources.format import Format, from_draft
from perflib.sources.given import Given
from perflib.sources.http_headers import SAID, by_browser
from perflib.sources.one_request import add_data

_BEGINS: Final = re.compile(r"(?:\$ |> )?curl(?:\.exe)?\s")
_ANSI: Final = re.compile(r"\$'((?:[^'\\]|\\.)*)'", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{1,4}|U[0-9a-fA-F]{1,8}|[0-7]{1,3}|.)", re.DOTALL)
_PLAIN: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "e": "\x1b"}

_WITH_VALUE: Final = (
    *("-u --user", "-b --cookie", "-A --user-agent", "-e --referer", "-x --proxy", "-T --upload-file", "-m --max-time"),
    *("--oauth2-bearer", "--cacert", "-E --cert", "-o --output", "-w --write-out", "--retry", "--connect-timeout"),
    "-D --dump-header",
)
_SWITCHES: Final = (
    *("-G --get", "-I --head", "-k --insecure", "-L --location", "--compressed", "-s --silent", "-S --show-error"),
    *("-v --verbose", "-i --include", "-f --fail", "-g --globoff", "-N --no-buffer", "-O --remote-name", "--http1.1"),
    *("--http2", "--path-as-is"),
)


class _Parser(argparse.ArgumentParser):
    """The options of curl that say something about the request."""

    def error(self, message: str) -> NoReturn:
        raise SuiteError(f"curl: {message}", mend="correct the command")


def _parser() -> _Parser:
    parser = _Parser(prog="curl", add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("urls", nargs="*")
    add("--url", action="append", default=[])
    add("-X", "--request")
    add("-H", "--header", action="append", default=[])
    for names, how in (
        (("-d", "--data", "--data-ascii"), "data"),
        (("--data-raw",), "raw"),
        (("--data-binary",), "data"),
        (("--data-urlencode",), "encoded"),
        (("--json",), "json"),
    ):
        add(*names, action="append", dest="data", type=lambda text, how=how: (how, text))  # type: ignore[misc]
    add("-F", "--form", action="append", default=[])
    add("--form-string", action="append", default=[])
    for words in _WITH_VALUE:
        add(*words.split())
    for words in _SWITCHES:
        add(*words.split(), action="store_true")
    return parser


def _recognises(given: Given) -> bool:
    return given.is_file and any(_BEGINS.match(line.strip()) for line in given.text[:65_536].split("\n")[:50])


def _read(given: Given) -> Draft:
    draft = Draft(given.name.rpartition(".")[0] or given.name, f"the curl lines in {given.name}", {}, [])
    requests: list[Request] = []
    for line, command in _commands(given.text, given.name, draft.losses):
        try:
            requests += _requests(command, draft, f"{given.name}, line {line}")
        except SuiteError as error:
            where = f"{given.name}, line {line}"
            raise SuiteError(error.what, where=where, mend=error.mend) from None
    if given.url is not None and draft.sites:
        next(iter(draft.sites.values())).url = given.url
    draft.journeys = [Journey("calls", requests)]
    return draft


def _commands(text: str, name: str, losses: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Each curl command as its words, with the line that it begins in."""
    if re.search(r"\^\s*$", text, re.MULTILINE) and re.search(r"^curl\S* +(?:--\S+ )*\^\"", text, re.MULTILINE):
        text = _from_cmd(text)
    text = _ANSI.sub(lambda match: shlex.quote(_ESCAPE.sub(_unescaped, match[1])), text)
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        begin, command = at + 1, lines[at].strip()
        at += 1
        if not command or command.startswith("#"):
            continue
        if not _BEGINS.match(command + " "):
            losses.append(f"line {begin} is no curl command: {command[:60]}")
            continue
        words, at = _words(lines, at - 1, name)
        yield begin, words[1:] if words[0] not in ("$", ">") else words[2:]


def _words(lines: list[str], at: int, name: str) -> tuple[list[str], int]:
    """The words of the command that begins in a line. It goes on while a quote is open, and after a backslash."""
    begin, command = at, ""
    while at < len(lines):
        command += lines[at]
        at += 1
        if re.search(r"(?<!\\)(?:\\\\)*\\\s*$", command):
            command = re.sub(r"\\\s*$", " ", command)
            continue
        try:
            words = shlex.split(re.sub(r"\s*(?:;|\|.*|&&|&)\s*$", "", command))
        except ValueError:
            command += "\n"
            continue
        return words, at
    where, mend = f"{name}, line {begin + 1}", "close the quote that the command opens"
    raise SuiteError("the command does not end", where=where, mend=mend)


def _from_cmd(text: str) -> str:
    """Commands of Windows' cmd, as browsers copy them, as those of bash."""
    text = re.sub(r"\^\s*\n", r" \\\n", text)
    text = re.sub(r"\^(.)", r"\1", text)  # an escaped character stands for itself
    return re.sub(
        r'"((?:[^"\\]|\\.|"")*)"',
        lambda match: shlex.quote(re.sub(r'\\(["\\])', r"\1", match[1].replace('""', '"'))),
        text,
    )


def _unescaped(match: re.Match[str]) -> str:
    what = match[1]
    if what[0] in "xuU" and len(what) > 1:
        code = int(what[1:], 16)
        return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
    return chr(int(what, 8)) if what[0] in "01234567" else _PLAIN.get(what, what)


def _requests(words: list[str], draft: Draft, where: str) -> Iterator[Request]:
    """One request for each URL of a command."""
    options, unknown = _parser().parse_known_intermixed_args(words)
    named = [word for word in unknown if word.startswith("-")]
    urls = [*options.url, *options.urls, *(word for word in unknown if word not in named)]
    draft.losses += [f"{where}: option {word.partition('=')[0]}" for word in named]
    if not urls and not named:
        raise SuiteError("no URL", mend="add one to the command")
    if options.proxy or options.cert or options.cacert:
        given = [name for name in ("proxy", "cert", "cacert") if getattr(options, name)]
        draft.losses += [f"{where}: option --{name}: set it in the target" for name in given]
    for url in urls:
        yield _request(url, options, draft, where)


def _request(url: str, options: Any, draft: Draft, where: str) -> Request:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SuiteError("not a URL of http or https", mend="correct the URL of the command")
    request = Request("GET", urlunsplit(("", "", parts.path or "/", parts.query, "")))
    for text in options.header:
        name, separator, value = (part.strip() for part in text.partition(":"))
        if separator and by_browser(name, value):
            draft.losses.append(SAID)
        elif separator and value:
            request.headers[name] = value
        elif not separator:
            draft.losses.append(f"{where}: a header without a colon")
    _user(request, options, draft, where)
    _content(request, options, draft, where)
    request.method = (options.request or _method(request, options)).upper()
    request.site = _site(parts.scheme, parts.netloc, options, draft)
    return request


def _method(request: Request, options: Any) -> str:
    if options.head:
        return "HEAD"
    if options.upload_file:
        return "PUT"
    return "POST" if request.body is not None else "GET"


def _user(request: Request, options: Any, draft: Draft, where: str) -> None:
    """What says who sends the request, and from where."""
    if options.user:
        import base64

        encoded = base64.b64encode(options.user.encode()).decode()
        request.headers.setdefault("Authorization", f"Basic {encoded}")
    if options.oauth2_bearer:
        request.headers.setdefault("Authorization", f"Bearer {options.oauth2_bearer}")
    if options.cookie and "=" in options.cookie:
        request.headers.setdefault("Cookie", options.cookie)
    elif options.cookie:
        draft.losses.append(f"{where}: the file of cookies")
    if options.referer:
        request.headers.setdefault("Referer", options.referer)
    if options.user_agent:
        request.headers.setdefault("User-Agent", options.user_agent)


def _content(request: Request, options: Any, draft: Draft, where: str) -> None:
    """The body, or the query that -G makes of it."""
    data: list[tuple[str, str]] = options.data or []
    texts = [_encoded(text) if how == "encoded" else text for how, text in data]
    if options.get:
        extra = "&".join(texts)
        request.path += ("&" if "?" in request.path else "?") + extra if extra else ""
    elif options.form or options.form_string:
        request.body = ("multipart", _parts(options))
    elif options.upload_file:
        request.body = ("body_file", options.upload_file)
    elif len(data) == 1 and data[0][0] == "data" and texts[0].startswith("@"):
        add_data(request, texts[0])
    elif data:
        if any(how == "json" for how, _ in data):
            request.headers.setdefault("Content-Type", "application/json")
            request.headers.setdefault("Accept", "application/json")
        if any(how == "data" and text.startswith("@") for how, text in data):
            draft.losses.append(f"{where}: a file among several parts of a body")
        _add_text(request, "".join(texts) if data[0][0] == "json" else "&".join(texts))


def _add_text(request: Request, text: str) -> None:
    """A body as a form where it is one, else as JSON or as a text."""
    kind = next((value for name, value in request.headers.items() if name.lower() == "content-type"), "")
    is_form = not kind or kind.startswith("application/x-www-form-urlencoded")
    pairs = parse_qsl(text, keep_blank_values=True)
    rewritten = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs)
    if is_form and pairs and len(dict(pairs)) == len(pairs) and rewritten.lower() == text.replace("%20", "+").lower():
        request.body = ("form", dict(pairs))
        return
    if text.startswith("@"):
        request.body = ("body", text)
        request.headers.setdefault("Content-Type", kind or "application/x-www-form-urlencoded")
        return
    add_data(request, text)


def _encoded(text: str) -> str:
    """What --data-urlencode makes of `name=a b`."""
    name, separator, value = text.partition("=")
    return f"{name}={quote_plus(value)}" if separator and name else quote_plus(value if separator else text)


def _parts(options: Any) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for text in options.form:
        name, _, value = text.partition("=")
        if value[:1] in ("@", "<"):
            file, *more = value[1:].split(";")
            details = dict(part.strip().partition("=")[::2] for part in more)
            part = {"file": file.strip('"'), "type": details.get("type"), "name": details.get("filename")}
            parts[name] = {key: entry for key, entry in part.items() if entry}
        else:
            parts[name] = value
    return parts | dict(text.partition("=")[::2] for text in options.form_string)


def _site(scheme: str, netloc: str, options: Any, draft: Draft) -> str:
    """The name of the site of a URL, which is added where it is new."""
    keys: dict[str, Any] = {}
    if options.insecure:
        keys["verify_tls"] = False
    if options.location:
        keys["redirects"] = 10
    url = urlunsplit((scheme, netloc, "", "", ""))
    for name, site in draft.sites.items():
        if site.url == url:
            site.keys |= keys
            return name
    name = "api" if not draft.sites else f"api{len(draft.sites) + 1}"
    draft.sites[name] = Site(url, keys=keys)
    return name


FORMAT = Format("curl", "curl command lines, as browsers copy them", _recognises, from_draft(_read))
