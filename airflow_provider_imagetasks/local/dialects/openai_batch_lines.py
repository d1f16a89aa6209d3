"""Lines of results as OpenAI's Batch API writes them, whole or as a prompt asks for."""

from __future__ import annotations

import base64
import json
import struct
import uuid
import zlib
from typing import Any

from airflow_provider_imagetasks.local.dialects.openai_batch_table import BatchRow

_PNG_END = 12
"""Bytes of the last chunk of a PNG."""


def result_line(row: BatchRow, pictures: list[bytes]) -> tuple[bytes, bool]:
    """Return the line of a row, or what its prompt asks for in its place; and whether the file ends with it.

    :param pictures: none where the row has an error.
    """
    wanted = row.record.behaviours.word("line", "")
    length = int(row.record.behaviours.number("line-kb", 0))
    if length:
        pictures = [padded(picture, length * 768) for picture in pictures]
    encoded = [base64.b64encode(picture).decode("ascii") for picture in pictures]
    if wanted == "no-picture":
        encoded = [base64.b64encode(b"This is no picture, however long it is. " * 50).decode() for _ in encoded]
    if wanted == "no-base64":
        encoded = ["%" * 4000 for _ in encoded]
    line = json.dumps(_said(row, encoded)).encode() + b"\n"
    if wanted == "missing":
        return b"", False
    if wanted == "twice":
        return line + line, False
    if wanted == "foreign":
        other = {**_said(row, encoded), "custom_id": "somebody-else-7"}
        return json.dumps(other).encode() + b"\n" + line, False
    if wanted == "not-json":
        return line[: len(line) // 2] + b"\n", False
    if wanted == "cut-off":
        return line[: len(line) // 2], True
    return line, False


def padded(picture: bytes, size: int) -> bytes:
    """Return a PNG with a chunk of nothing that makes it so many bytes long."""
    room = max(0, size - len(picture) - _PNG_END)
    content = b"paDd" + bytes(room)
    chunk = struct.pack(">I", room) + content + struct.pack(">I", zlib.crc32(content))
    return picture[:-_PNG_END] + chunk + picture[-_PNG_END:]


def _said(row: BatchRow, encoded: list[str]) -> dict[str, Any]:
    line: dict[str, Any] = {"id": f"batch_req_{uuid.uuid4().hex}", "custom_id": row.custom_id}
    error = row.error
    if error is not None and error["status"] is None:
        return {**line, "response": None, "error": {"code": error["code"], "message": error["message"]}}
    body: dict[str, Any]
    if error is not None:
        status = error["status"]
        told = {"message": error["message"], "type": error["type"], "param": None, "code": error["code"]}
        body = {"error": told}
    else:
        status, words = 200, len(row.record.behaviours.text.split())
        tokens = {"input_tokens": words, "output_tokens": 1056 * len(encoded)}
        body = {
            "created": int(row.record.created_at),
            "data": [{"b64_json": each} for each in encoded],
            "output_format": row.record.media_format,
            "size": f"{row.record.size[0]}x{row.record.size[1]}",
            "usage": {**tokens, "total_tokens": sum(tokens.values())},
        }
    response = {"status_code": status, "request_id": f"req_{uuid.uuid4().hex}", "body": body}
    return {**line, "response": response, "error": None}
