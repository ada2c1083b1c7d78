"""The shard store: finished pieces of work, kept under the digest of everything that decides their content.

It owns resume inside a stage. Whoever computed a shard, the next run that needs the same key finds it; a shard that is
damaged on the disk is as good as absent and is computed again.
"""

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from db3.errors import DataError
from db3.files import whole_file

Arrays = dict[str, npt.NDArray[Any]]

_SEAL = 64  # hex characters of SHA-256
_KEY = re.compile(r"[0-9a-f]{16,128}")


class ShardStore:
    """Named arrays, one file per key: `ROOT/ab/abcdef….npz`.

    A file is an ordinary uncompressed .npz followed by its seal, the SHA-256 of key and content in hex. The seal is
    checked before anything is parsed: a torn, flipped or misplaced file is never taken for a shard. Several processes
    may use one store at once; files appear whole (`db3.files`), and two writers of one key write the same bytes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def __repr__(self) -> str:
        return f"ShardStore({str(self.root)!r})"

    def path(self, key: str) -> Path:
        """Where the shard of this key lies.

        Raises:
            ValueError: the key is not a digest in lower-case hex.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f"shard key {key!r} is not a digest; expected 16 to 128 lower-case hex digits")
        return self.root / key[:2] / f"{key}.npz"

    def __contains__(self, key: str) -> bool:
        """Whether a whole shard is there."""
        return self._read(key) is not None

    def get(self, key: str) -> Arrays | None:
        """The arrays stored under this key; None when there are none, or their file is damaged."""
        content = self._read(key)
        if content is None:
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def put(self, key: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Store arrays under this key, replacing what was there; the same arrays always give the same bytes.

        Raises:
            DataError: the file cannot be written, e.g. the disk is full; what was there before stays.
        """
        path = self.path(key)
        buffer = io.BytesIO()
        # allow_pickle=False: an array of objects is refused here, not when it is read back.
        np.savez(buffer, allow_pickle=False, **{name: np.asarray(arrays[name], order="C") for name in sorted(arrays)})
        content = buffer.getvalue()
        with whole_file(path) as file:
            file.write(content)
            file.write(_seal(key, content))

    def _read(self, key: str) -> bytes | None:
        try:
            data = self.path(key).read_bytes()
        except OSError:
            return None
        content, seal = data[:-_SEAL], data[-_SEAL:]
        return content if seal == _seal(key, content) else None


def _seal(key: str, content: bytes) -> bytes:
    digest = hashlib.sha256(key.encode())
    digest.update(content)
    return digest.hexdigest().encode()


class Shards:
    """Finished pieces of one work in the order of their keys, read from the store when asked for.

    Args:
        what: the work, for errors.
        keys: of the pieces.
        store: that holds them.
        reused: how many were there already and not computed again.
    """

    def __init__(self, what: str, keys: Sequence[str], store: ShardStore, reused: int) -> None:
        self._what, self._keys, self._store, self.reused = what, tuple(keys), store, reused

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Arrays]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Arrays:
        """The arrays of piece `index`.

        Raises:
            DataError: its file was deleted or damaged after it was finished.
        """
        arrays = self._store.get(self._keys[index])
        if arrays is None:
            path = self._store.path(self._keys[index])
            raise DataError(f"{path}, shard {index} of {self._what}, was removed or damaged just now; run again")
        return arrays
