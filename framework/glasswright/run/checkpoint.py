"""Checkpoints: named blocks of arrays in one file, with a checksum; nothing in them is ever executed.

A file holds a line of JSON and then the arrays' bytes. The JSON says what there is and where; the structure that the
arrays belong to comes from the experiment, not from the file.
"""

import dataclasses
import hashlib
import io
import json
from pathlib import Path
from typing import TypeGuard, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from .._types import JSON, Plain
from ..execution.container import join, split

Tree = TypeVar("Tree")

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The state before a step.

    **Attributes:**

    - `step`: number of the coming step.
    - `content`: nested dictionaries of numbers, texts and packed trees (`pack`).
    """

    step: int
    content: dict[str, Plain]

    def to_bytes(self) -> bytes:
        """What a checkpoint file holds."""
        outline, body = split(self.content)
        header = {
            "format": FORMAT,
            "step": self.step,
            "sha256": _checksum(self.step, outline, body),
            "content": outline,
        }
        return json.dumps(header).encode() + b"\n" + body

    @staticmethod
    def read(path: Path) -> "Checkpoint":
        """A checkpoint from its file; `ValueError` says what is wrong with it."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ValueError(error.strerror or str(error)) from error
        line, _, body = data.partition(b"\n")
        try:
            header = json.loads(line)
            given, outline, step = header["sha256"], header["content"], int(header["step"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError("truncated or no checkpoint: its first line cannot be read") from error
        if header.get("format") != FORMAT:
            raise ValueError(f"format {header.get('format')}; this version reads {FORMAT}")
        if _checksum(step, outline, body) != given:
            raise ValueError("truncated or corrupted: the checksum does not fit")
        return Checkpoint(step, join(outline, body))


def _checksum(step: int, outline: JSON, body: bytes) -> str:
    """Of everything that is read."""
    return hashlib.sha256(json.dumps([step, outline]).encode() + body).hexdigest()


def pack(tree: PyTree) -> dict[str, Plain]:
    """The arrays and numbers of a tree, without its structure."""
    leaves = [jax.random.key_data(leaf) if _is_key(leaf) else leaf for leaf in jax.tree.leaves(tree)]
    buffer = io.BytesIO()
    eqx.tree_serialise_leaves(buffer, [np.asarray(leaf) for leaf in leaves])
    kinds = [[np.asarray(leaf).dtype.str, list(np.shape(leaf))] for leaf in leaves]
    return {"leaves": kinds, "data": buffer.getvalue()}


def unpack(packed: dict[str, Plain], like: Tree) -> Tree:
    """The tree whose leaves were packed, with the structure of `like`; shapes are the packed ones."""
    expected, structure = jax.tree.flatten(like)
    if len(expected) != len(packed["leaves"]):
        raise ValueError(f"made by another experiment: {len(packed['leaves'])} arrays where {len(expected)} belong")
    empty = [np.zeros(shape, dtype=np.dtype(kind)) for kind, shape in packed["leaves"]]
    leaves = eqx.tree_deserialise_leaves(io.BytesIO(packed["data"]), empty)
    tree: Tree = jax.tree.unflatten(structure, [_like(leaf, old) for leaf, old in zip(leaves, expected, strict=True)])
    return tree


def _is_key(leaf: object) -> TypeGuard[Array]:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _like(leaf: np.ndarray, old: object) -> object:
    if _is_key(old):
        return jax.random.wrap_key_data(jnp.asarray(leaf), impl=jax.random.key_impl(old))
    if isinstance(old, jax.Array):
        return jnp.asarray(leaf)
    return leaf if isinstance(old, np.ndarray | np.generic) else leaf.item()
