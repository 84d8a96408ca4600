"""What the keys of `suite.target.Network` mean: TLS settings, proxies, other places to connect to."""

from __future__ import annotations

import base64
import contextlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from perflib.errors import SuiteError
from perflib.suite.environment import from_environment
from perflib.suite.target import Network, Target

_ONLY_TLS = ("ca_file", "client_cert", "server_name")
_INSTEAD = ("connect_to", "unix_socket", "proxy")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. `authorization`: the value of Proxy-Authorization, "" for none."""

    host: str
    port: int
    authorization: str

    @classmethod
    def of(cls, url: str, where: str) -> Proxy:
        """Raises SuiteError."""
        filled = from_environment(url, where)
        try:
            parts = urlsplit(filled)
            if parts.scheme == "http" and parts.hostname and parts.port != 0:
                return cls(parts.hostname, parts.port or 80, basic(parts))
        except ValueError:
            pass
        raise SuiteError("not the URL of an HTTP proxy", where=where, mend='write it like "http://proxy:3128"')


def basic(parts: SplitResult) -> str:
    """The credentials of a URL as the value of an Authorization header; "" where it has none."""
    if parts.username is None:
        return ""
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def host_and_port(text: str, where: str) -> tuple[str, int]:
    """("::1", 443) of "[::1]:443". Raises SuiteError."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(f"//{text}")
        if parts.hostname and parts.port and parts.netloc == text:
            return parts.hostname, parts.port
    raise SuiteError(f"not a host and port: {text!r}", where=where, mend='write it like "127.0.0.1:8443"')


def tls_context(network: Network, where: str, folder: str) -> ssl.SSLContext:
    """The TLS settings of a target, which offers HTTP/1.1 alone. Raises SuiteError for a file that cannot be used."""
    authorities = str(Path(folder) / network.ca_file) if network.ca_file else None
    with _named(network.ca_file, f"{where}.ca_file"):
        tls = ssl.create_default_context(cafile=authorities)
    if network.client_cert:
        names = (network.client_cert,) if isinstance(network.client_cert, str) else network.client_cert
        certificate, *key = [str(Path(folder) / name) for name in names]
        with _named(" and ".join(names), f"{where}.client_cert"):
            tls.load_cert_chain(certificate, key[0] if key else None, password=lambda: "")  # else it asks for one
    if not network.verify_tls:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.set_alpn_protocols(["http/1.1"])
    return tls


@contextlib.contextmanager
def _named(name: str | None, where: str) -> Any:
    """Name the file that cannot be used."""
    try:
        yield
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).lower().replace("_", " ")
        mend = "give a certificate, and its key without a password, in PEM"
        raise SuiteError(f"cannot use {name}: {reason}", where=where, mend=mend) from None
    except OSError as error:
        mend = "its path is relative to the suite"
        raise SuiteError(f"cannot read {name}: {error.strerror}", where=where, mend=mend) from None


def check_network(name: str, spec: Target, folder: str) -> None:
    """Raise SuiteError for keys that this target cannot follow, and for a missing or wrong file."""
    if not isinstance(spec, Network):
        return
    where = f"targets.{name}"
    given = [key for key in (*_ONLY_TLS, *_INSTEAD) if getattr(spec, key)]
    if given and (not spec.url or getattr(spec, "client", "") == "sdk"):
        what = (
            f"{given[0]!r} without a URL" if not spec.url else f"the official SDK's client does not take {given[0]!r}"
        )
        raise SuiteError(what, where=f"{where}.{given[0]}", mend='it is for a `url` and client = "lean"')
    instead = [key for key in given if key in _INSTEAD]
    if len(instead) > 1:
        raise SuiteError(f"both {instead[0]!r} and {instead[1]!r}", where=where, mend="give one of them")
    if spec.url and spec.url.startswith("http://") and (wrong := [key for key in given if key in _ONLY_TLS]):
        mend = f"take {wrong[0]!r} out, or begin the url with https://"
        raise SuiteError(f"{wrong[0]!r} is for TLS, and the url begins with http://", where=where, mend=mend)
    if isinstance(spec.client_cert, tuple) and len(spec.client_cert) != 2:
        mend = 'write client_cert = ["client.pem", "client.key"]'
        raise SuiteError("not a certificate and its key", where=f"{where}.client_cert", mend=mend)
    if spec.connect_to:
        host_and_port(from_environment(spec.connect_to, where), f"{where}.connect_to")
    if spec.proxy:
        Proxy.of(spec.proxy, f"{where}.proxy")
    if spec.ca_file or spec.client_cert:
        tls_context(spec, where, folder)
