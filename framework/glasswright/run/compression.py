"""Files that may be compressed: gzip, bzip2 and xz are known by their first bytes, whatever the name of the file."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path

_FORMATS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
}


def read_bytes(path: str | Path) -> bytes:
    """The content of a file, decompressed.

    Raises `OSError` if it cannot be read, or is compressed and damaged.
    """
    content = Path(path).read_bytes()
    for magic, decompress in _FORMATS.items():
        if content.startswith(magic):
            try:
                return decompress(content)
            except (OSError, EOFError, lzma.LZMAError, zlib.error, ValueError) as error:
                raise OSError(f"the compressed data are damaged: {error}") from error
    return content
