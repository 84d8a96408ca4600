"""The fields of a recorded multipart/form-data body."""

from __future__ import annotations

import email
import email.policy
from typing import Any

from perflib.sources.given import text


def parts_of(kind: str, content: str, params: list[dict[str, Any]]) -> tuple[dict[str, str], list[str]]:
    """Each field's text by its name, and the names of those that were files. `kind`: the Content-Type.

    Browsers record the whole body, or the fields; a file is often recorded without its bytes.
    """
    fields = [(text(p.get("name")), text(p.get("value")), bool(p.get("fileName"))) for p in params]
    if content:
        head = f"Content-Type: {' '.join(kind.split())}\r\n\r\n"
        message = email.message_from_string(head + content, policy=email.policy.HTTP)
        found = []
        for part in message.iter_parts() if message.is_multipart() else ():
            name = part.get_param("name", header="content-disposition")
            if isinstance(name, str) and name:
                payload = part.get_payload()
                found.append(
                    (name, payload.rstrip("\r\n") if isinstance(payload, str) else "", bool(part.get_filename()))
                )
        fields = found or fields
    files = [name for name, _, is_file in fields if is_file]
    return {name: value if name not in files else "a file" for name, value, _ in fields if name}, files
