"""Files are whole or absent, whatever happens while they are written; damaged ones are never read."""

import os
import pickle
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from db3.errors import DataError
from db3.files import (
    growing_array,
    packed,
    read_array,
    read_json,
    whole_file,
    write_array,
    write_bytes,
    write_json,
    write_text,
)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _python(code: str, *arguments: object, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own; it prints what went wrong."""
    command = [*before, sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def _line(error: pytest.ExceptionInfo[DataError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_file_appears_whole_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    with whole_file(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert _names(path.parent) == {"file"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_who_reads_the_old_file_keeps_it(tmp_path: Path) -> None:
    """A file is replaced, never written over: a shard mapped by another process stays what it was."""
    write_array(tmp_path / "a.npy", np.arange(4))
    old = read_array(tmp_path / "a.npy")
    write_array(tmp_path / "a.npy", np.arange(4) + 10)
    assert old.tolist() == [0, 1, 2, 3]
    assert read_array(tmp_path / "a.npy").tolist() == [10, 11, 12, 13]


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are flushed: first the file, still under another name, then its folder with the new name."""
    flushed = []

    def flush(handle: int, fsync: Callable[[int], None] = os.fsync) -> None:
        fsync(handle)
        flushed.append((stat.S_ISDIR(os.fstat(handle).st_mode), os.fstat(handle).st_size, (tmp_path / "file").exists()))

    monkeypatch.setattr(os, "fsync", flush)
    write_bytes(tmp_path / "file", b"12345")
    assert flushed[0] == (False, 5, False)
    assert flushed[1][::2] == (True, True)


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_error_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def write() -> None:
        with whole_file(path) as file:
            file.write(b"new" * 100_000)
            raise error

    with pytest.raises((type(error), DataError)):
        write()
    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == {"file"}


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    killed = _python(
        """
        import os, signal, sys
        from pathlib import Path
        from db3.files import whole_file
        with whole_file(Path(sys.argv[1])) as file:
            file.write(b"new" * 100_000)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        path,
    )
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert all(name.startswith(".") for name in _names(tmp_path) - {"file"})
    write_bytes(path, b"newer")
    assert path.read_bytes() == b"newer"


WRITE_TOO_MUCH = """
    import resource, signal, sys
    from pathlib import Path
    import numpy as np
    from db3.errors import DataError
    from db3.files import write_array, write_bytes
    folder, kind, limit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    write_bytes(folder / "file", b"old")
    try:
        if kind == "array":
            write_array(folder / "file", np.zeros(1_000_000))
        else:
            write_bytes(folder / "file", bytes(1_000_000))
    except DataError as error:
        print(error)
    assert (folder / "file").read_bytes() == b"old"
    assert [path.name for path in folder.iterdir()] == ["file"]
"""


def _refused_in_one_line(result: subprocess.CompletedProcess[str], path: Path, reason: str) -> None:
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"cannot write {path}: ")
    assert reason in line
    assert line.endswith("; free some space or check the rights")


@pytest.mark.parametrize("kind", ["array", "bytes"])
def test_a_file_that_may_not_grow_so_large_is_refused_whole(tmp_path: Path, kind: str) -> None:
    reason = "written" if kind == "array" else "File too large"  # numpy says how many numbers it could write
    _refused_in_one_line(_python(WRITE_TOO_MUCH, tmp_path, kind, 65_536), tmp_path / "file", reason)


@pytest.mark.parametrize("kind", ["array", "bytes"])
def test_a_full_disk_is_told_in_one_line(tmp_path: Path, kind: str) -> None:
    """A real one: a file system of 64 KiB, mounted in a name space of its own."""
    mount = f'mount -t tmpfs -o size=64k none "{tmp_path}" && exec "$@"'
    inside = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh")
    if not shutil.which("unshare") or _python("", before=inside).returncode:
        pytest.skip("needs the right to mount a tmpfs in a name space of its own")
    reason = "written" if kind == "array" else "No space left on device"
    _refused_in_one_line(_python(WRITE_TOO_MUCH, tmp_path, kind, 0, before=inside), tmp_path / "file", reason)


def test_a_place_that_cannot_be_a_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot write .*/file/inside: ") as error:
        write_bytes(tmp_path / "file" / "inside", b"x")
    assert "check the rights" in _line(error)


def test_a_folder_without_the_right_to_write_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(DataError, match=r"cannot write .*Permission denied") as error:
        write_bytes(folder / "file", b"x")
    _line(error)


def test_a_folder_in_the_way_stays(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "inside").touch()
    with pytest.raises(DataError, match=r"cannot write .*taken") as error:
        write_bytes(tmp_path / "taken", b"x")
    _line(error)
    assert _names(tmp_path) == {"taken"}


def test_text_and_json_have_one_form(tmp_path: Path) -> None:
    write_text(tmp_path / "text", "é\n")
    assert (tmp_path / "text").read_bytes() == b"\xc3\xa9\n"
    write_json(tmp_path / "json", {"b": [1, 2.5], "a": {"é": None}})
    assert (tmp_path / "json").read_text(encoding="utf-8") == (
        '{\n  "a": {\n    "é": null\n  },\n  "b": [\n    1,\n    2.5\n  ]\n}\n'
    )
    assert read_json(tmp_path / "json") == {"b": [1, 2.5], "a": {"é": None}}


def test_json_holds_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "json", 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "json", {"loss": float("nan")})
    assert read_json(tmp_path / "json") == 1


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": }', b"\xff\xfe", b"[1, 2"])
def test_damaged_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=r"a.json is not valid JSON .*run the stage again") as error:
        read_json(tmp_path / "a.json")
    _line(error)


def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    for read in (read_json, read_array):
        with pytest.raises(DataError, match=r"cannot read .*gone: No such file or directory; run the stage") as error:
            read(tmp_path / "gone")
        _line(error)


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("shape", [(), (3,), (0,), (0, 3, 4), (5, 0), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["u1", "<f4", "<i8", "?"])
def test_arrays_survive_a_round_trip(tmp_path: Path, mapped: bool, shape: tuple[int, ...], dtype: str) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    write_array(tmp_path / "a.npy", array)
    found = read_array(tmp_path / "a.npy", mapped)
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()


def test_a_mapped_array_cannot_be_written(tmp_path: Path) -> None:
    write_array(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(ValueError, match="read-only"):
        read_array(tmp_path / "a.npy")[0] = 1


def test_equal_arrays_give_equal_bytes_in_c_order(tmp_path: Path) -> None:
    array = np.arange(12.0).reshape(3, 4)
    write_array(tmp_path / "a.npy", array)
    write_array(tmp_path / "b.npy", np.asfortranarray(array))
    written = (tmp_path / "a.npy").read_bytes()
    assert written == (tmp_path / "b.npy").read_bytes()
    assert written[:8] == b"\x93NUMPY\x01\x00"
    assert written.endswith(array.tobytes())


def test_objects_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        write_array(tmp_path / "a.npy", np.array([{}], dtype=object))
    assert _names(tmp_path) == set()


@pytest.mark.parametrize("mapped", [True, False])
def test_a_pickled_array_is_refused(tmp_path: Path, mapped: bool) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"a.npy is not a whole .npy file") as error:
        read_array(tmp_path / "a.npy", mapped)
    _line(error)


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("kept", [0, 5, 9, 40, 127, 128, 200, 128 + 399])
def test_a_truncated_array_is_refused(tmp_path: Path, mapped: bool, kept: int) -> None:
    write_array(tmp_path / "a.npy", np.arange(100, dtype=np.float32))
    whole = (tmp_path / "a.npy").read_bytes()
    assert len(whole) == 128 + 400
    (tmp_path / "a.npy").write_bytes(whole[:kept])
    with pytest.raises(DataError, match=r"a.npy is not a whole .npy file .*run the stage again") as error:
        read_array(tmp_path / "a.npy", mapped)
    _line(error)


def test_a_damaged_header_is_refused_or_harmless(tmp_path: Path) -> None:
    """Bytes flipped at random in the header: an array or a DataError, never another error."""
    write_array(tmp_path / "a.npy", np.arange(12, dtype=np.float32).reshape(3, 4))
    whole, drawn, refused = (tmp_path / "a.npy").read_bytes(), np.random.default_rng(0), 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in drawn.integers(0, 80, drawn.integers(1, 4)):
            damaged[place] = drawn.integers(0, 256)
        (tmp_path / "b.npy").write_bytes(damaged)
        for mapped in (True, False):
            with suppress(DataError):
                read_array(tmp_path / "b.npy", mapped)
                refused -= 1
            refused += 1
    assert refused > 500


def test_an_array_grown_part_by_part_has_the_bytes_of_the_whole(tmp_path: Path) -> None:
    parts = [np.arange(count * 6, dtype=np.uint8).reshape(count, 2, 3) for count in (4, 0, 1200)]
    with growing_array(tmp_path / "grown.npy", (2, 3), np.uint8) as append:
        for part in parts:
            append(part)
    write_array(tmp_path / "whole.npy", np.concatenate(parts))
    assert (tmp_path / "grown.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    with growing_array(tmp_path / "none.npy", (2, 3), np.uint8):
        pass
    assert read_array(tmp_path / "none.npy").shape == (0, 2, 3)


@pytest.mark.parametrize("part", [np.zeros((1, 3), np.uint8), np.zeros((1, 2, 3), np.int64)])
def test_a_part_that_does_not_fit_leaves_no_file(tmp_path: Path, part: npt.NDArray[np.generic]) -> None:
    growing = growing_array(tmp_path / "a.npy", (2, 3), np.uint8)
    with pytest.raises(ValueError, match="expected uint8 rows"), growing as append:
        append(part)
    assert list(tmp_path.iterdir()) == []


def test_a_mapped_array_is_sent_by_name_a_large_one_by_file_and_any_other_whole(tmp_path: Path) -> None:
    write_array(tmp_path / "a.npy", np.arange(100_000).reshape(100, -1))
    mapped, large = read_array(tmp_path / "a.npy"), np.arange(1 << 18).reshape(512, -1).T
    folder = tmp_path / "sent"
    sent = packed({"all": mapped, "part": mapped[3:5], "large": large, "other": np.arange(3)}, folder)
    assert len(sent) < 50_000
    assert len(list(folder.iterdir())) == 1
    got = pickle.loads(sent)  # noqa: S301
    assert isinstance(got["all"], np.memmap)
    assert not got["all"].flags.writeable
    assert np.array_equal(got["all"], mapped)
    assert np.array_equal(got["part"], mapped[3:5])
    assert np.array_equal(got["large"], large)
    assert got["other"].tolist() == [0, 1, 2]
