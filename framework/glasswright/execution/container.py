"""Plain data with arrays, as JSON and a body of bytes: what processes exchange, and what checkpoints hold.

The JSON, the outline, says what there is, and where in the body the bytes are. Nothing in it is ever executed.
"""

import json

import jax
import numpy as np

from .._types import JSON, Plain


def split(value: Plain) -> tuple[JSON, bytes]:
    """Nested dictionaries and lists of numbers, texts, bytes and arrays as an outline for JSON and a body of bytes."""
    body = bytearray()
    return _outline(value, body), bytes(body)


def join(outline: JSON, body: bytes) -> Plain:
    """The value that was split; its arrays are read-only."""
    if isinstance(outline, list):
        return [join(item, body) for item in outline]
    if not isinstance(outline, dict):
        return outline
    if set(outline) == {"bytes"} and _is_place(outline["bytes"]):
        start, length = outline["bytes"]
        return body[start : start + length]
    if set(outline) == {"__array__"}:
        kind, shape, place = outline["__array__"]
        return np.frombuffer(join(place, body), dtype=np.dtype(kind)).reshape(shape)
    return {key: join(item, body) for key, item in outline.items()}


def to_bytes(value: Plain) -> bytes:
    """A value in one piece: a line of JSON, then the body."""
    outline, body = split(value)
    return json.dumps(outline).encode() + b"\n" + body


def from_bytes(data: bytes) -> Plain:
    """The value that `to_bytes` was given."""
    line, _, body = data.partition(b"\n")
    return join(json.loads(line), body)


def _outline(value: Plain, body: bytearray) -> JSON:
    if isinstance(value, dict):
        return {str(key): _outline(item, body) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_outline(item, body) for item in value]
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        array = np.ascontiguousarray(value)
        return {"__array__": [array.dtype.str, list(np.shape(value)), _outline(array.tobytes(), body)]}
    if isinstance(value, bytes):
        start = len(body)
        body += value
        return {"bytes": [start, len(value)]}
    return value


def _is_place(value: JSON) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(number, int) for number in value)
