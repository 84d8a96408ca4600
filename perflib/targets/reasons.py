"""Why a connection could not be made, in words."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Final

_ERRORS: Final = {
    errno.ECONNREFUSED: "connection refused by {place}",
    errno.ECONNRESET: "connection reset by {place}",
    errno.EHOSTUNREACH: "no route to {place}",
    errno.ENETUNREACH: "network unreachable on the way to {place}",
    errno.ETIMEDOUT: "no answer from {place}",
    errno.EMFILE: "too many open files: raise the limit (ulimit -n), or use more workers",
    errno.ENFILE: "too many open files on this machine",
    errno.EADDRNOTAVAIL: "no local port is free for a connection to {place}",
    errno.ENOENT: "no socket at {place}",
    errno.EACCES: "permission denied at {place}",
}
_CERTIFICATES: Final = {  # by the verify codes of OpenSSL
    10: "the certificate has expired",
    9: "the certificate is not valid yet",
    18: "self-signed certificate",
    19: "self-signed certificate in the chain",
    20: "the certificate is of an unknown authority (ca_file)",
    21: "the certificate is of an unknown authority (ca_file)",
    62: "the certificate is for another name than {name} (server_name)",
    64: "the certificate is for another name than {name} (server_name)",
}
_TLS: Final = {  # by words in the reasons of OpenSSL
    "WRONG_VERSION_NUMBER": "the server does not speak TLS",
    "HTTP_REQUEST": "the server does not speak TLS",
    "NO_APPLICATION_PROTOCOL": "the server does not offer HTTP/1.1; perhaps it speaks HTTP/2 only",
    "CERTIFICATE_REQUIRED": "the server asks for a certificate of the client (client_cert)",
    "HANDSHAKE_FAILURE": "the server refused the TLS handshake",
    "UNKNOWN_CA": "the server does not know the authority of the client's certificate (client_cert)",
    "UNEXPECTED_EOF": "the server closed the connection during the TLS handshake",
}


def worded(error: OSError, place: str, name: str) -> OSError:
    """An error of the same class whose text says why, for people.

    place   what was connected to, as "127.0.0.1:80"
    name    that the certificate had to be for
    """
    text = _reason(error).replace("{place}", place).replace("{name}", name)
    return type(error)(1, text) if isinstance(error, ssl.SSLError) else type(error)(text)


def _reason(error: OSError) -> str:
    """The reason, with {place} and {name} where they belong."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATES.get(error.verify_code, f"certificate not accepted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        said = error.reason or str(error)
        known = (text for words, text in _TLS.items() if words in said.upper().replace(" ", "_"))
        return next(known, f"TLS: {said.replace('_', ' ').lower()}")
    if isinstance(error, socket.gaierror):
        unknown = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        return "name not known: {place}" if error.errno in unknown else "{place}: " + (error.strerror or str(error))
    if error.errno in _ERRORS:
        return _ERRORS[error.errno]
    return str(error) or type(error).__name__
