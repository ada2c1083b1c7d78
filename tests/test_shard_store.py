"""The shard store: what is put comes back, and nothing damaged ever does."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from db3.digest import digest_json
from db3.errors import DataError
from db3.shard_store import ShardStore

KEY, OTHER = digest_json(["one"]), digest_json(["other"])
ARRAYS = {
    "distances": np.array([[0.0, np.inf], [1.5, -0.0]], dtype=np.float32),
    "asked": np.arange(6, dtype=np.int32).reshape(2, 3).T,
    "answers": np.array([3, 1, 255], dtype=np.uint8),
    "found": np.array([True, False]),
    "empty": np.empty((0, 4), dtype=np.int64),
    "count": np.array(7),
}


@pytest.fixture
def store(tmp_path: Path) -> ShardStore:
    return ShardStore(tmp_path / "shards")


def test_arrays_come_back_as_they_were_put(store: ShardStore) -> None:
    store.put(KEY, ARRAYS)
    found = store.get(KEY)
    assert found is not None
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)
    assert KEY in store


def test_nothing_is_found_under_another_key(store: ShardStore) -> None:
    store.put(KEY, ARRAYS)
    assert store.get(OTHER) is None
    assert OTHER not in store


def test_a_shard_lies_below_the_first_two_digits_of_its_key_and_numpy_can_read_it(store: ShardStore) -> None:
    store.put(KEY, ARRAYS)
    path = store.root / KEY[:2] / f"{KEY}.npz"
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["answers"], ARRAYS["answers"])
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_bytes_depend_on_the_arrays_alone(tmp_path: Path) -> None:
    one, two = ShardStore(tmp_path / "one"), ShardStore(tmp_path / "two")
    one.put(KEY, ARRAYS)
    two.put(KEY, {name: np.array(ARRAYS[name], order="C") for name in reversed(ARRAYS)})
    assert one.path(KEY).read_bytes() == two.path(KEY).read_bytes()


def test_a_truncated_file_counts_as_absent_and_is_put_again(store: ShardStore) -> None:
    store.put(KEY, ARRAYS)
    path = store.path(KEY)
    whole = path.read_bytes()
    for length in {0, 1, 63, 64, 65, *range(0, len(whole), 97), len(whole) - 1}:
        path.write_bytes(whole[:length])
        assert store.get(KEY) is None, length
        assert KEY not in store
    store.put(KEY, ARRAYS)
    assert path.read_bytes() == whole
    assert store.get(KEY) is not None


def test_one_flipped_bit_anywhere_counts_as_absent(store: ShardStore) -> None:
    store.put(KEY, ARRAYS)
    path = store.path(KEY)
    whole = path.read_bytes()
    for position in range(0, len(whole), 53):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        assert store.get(KEY) is None, position


def test_a_whole_file_in_anothers_place_counts_as_absent(store: ShardStore) -> None:
    store.put(KEY, ARRAYS)
    store.path(OTHER).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(store.path(KEY), store.path(OTHER))
    assert store.get(OTHER) is None


def test_a_folder_in_a_shards_place_counts_as_absent(store: ShardStore) -> None:
    store.path(KEY).mkdir(parents=True)
    assert store.get(KEY) is None


def test_objects_are_refused(store: ShardStore) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        store.put(KEY, {"objects": np.array([{}], dtype=object)})
    assert store.get(KEY) is None


@pytest.mark.parametrize("key", ["", "abc", "../../etc/passwd", KEY.upper(), KEY + "/x"])
def test_a_key_that_is_no_digest_is_refused(store: ShardStore, key: str) -> None:
    with pytest.raises(ValueError, match="lower-case hex"):
        store.get(key)


# A limit on the size of files makes the kernel refuse the write half-way, as a full disk does.
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from db3.errors import DataError
from db3.shard_store import ShardStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    ShardStore(Path(sys.argv[1])).put(sys.argv[2], {"large": np.arange(10_000)})
except DataError as error:
    print(error)
"""


def test_a_write_that_fails_half_way_leaves_nothing_and_says_so(store: ShardStore) -> None:
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(store.root), KEY], capture_output=True, text=True, check=True
    )
    assert str(store.path(KEY)) in result.stdout
    assert result.stdout.count("\n") == 1
    assert list(store.path(KEY).parent.iterdir()) == []


WRITER = """
import sys
from pathlib import Path
import numpy as np
from db3.shard_store import ShardStore
store = ShardStore(Path(sys.argv[1]))
for _ in range(60):
    store.put(sys.argv[2], {"x": np.arange(5000)})
    found = store.get(sys.argv[2])
    assert found is not None and (found["x"] == np.arange(5000)).all()
"""


def test_several_processes_write_and_read_one_key(store: ShardStore) -> None:
    command = [sys.executable, "-c", WRITER, str(store.root), KEY]
    with subprocess.Popen(command) as one, subprocess.Popen(command) as two:
        assert (one.wait(60), two.wait(60)) == (0, 0)
    assert [path.name for path in store.path(KEY).parent.iterdir()] == [f"{KEY}.npz"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "shards").write_text("a file where the folder should be")
    with pytest.raises((DataError, OSError), match="shards"):
        ShardStore(tmp_path / "shards").put(KEY, ARRAYS)
