import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from db3.datasets.encoded import EncodedImages, Listing, folder_reader, tar_members, tar_reader
from db3.datasets.form import Form
from db3.errors import DataError

NAMES = ("train/a/1.png", "train/b/2.png", "test/a/3.png")
LISTING = Listing(names=NAMES, labels=(0, 1, 0), class_names=("a", "b"), train=2, split=True)


@pytest.fixture
def folder(tmp_path: Path, write_pictures: Callable[..., None]) -> Path:
    write_pictures(tmp_path / "files", *NAMES)
    return tmp_path / "files"


def pack(folder: Path, archive: Path, names: tuple[str, ...], mode: str = "w:xz") -> Path:
    with tarfile.open(archive, mode) as tar:
        for name in names:
            tar.add(folder / name, name)
    return archive


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:xz", "w:bz2"])
def test_archive_and_folder_give_the_same_images_and_digest(mode: str, folder: Path, tmp_path: Path) -> None:
    archive = pack(folder, tmp_path / "images.tar", (NAMES[2], NAMES[0], NAMES[1]), mode)
    plain = EncodedImages(folder, LISTING, folder_reader(folder), Form((8, 8), 3))
    packed = EncodedImages(archive, LISTING, tar_reader(archive), Form((8, 8), 3))
    index = np.array([2, 0], dtype=np.int64)
    np.testing.assert_array_equal(plain.read(index).images, packed.read(index).images)
    np.testing.assert_array_equal(packed.read(index).labels, [0, 0])
    assert plain.digest() == packed.digest()


def test_only_the_images_asked_for_are_decoded(folder: Path) -> None:
    (folder / NAMES[0]).write_bytes(b"damaged")
    source = EncodedImages(folder, LISTING, folder_reader(folder), Form((8, 8), 3))
    assert len(source.read(np.array([1, 2], dtype=np.int64))) == 2
    with pytest.raises(DataError, match="1 of 3 images"):
        source.read(np.arange(3, dtype=np.int64))


def test_a_vanished_file_is_named(folder: Path) -> None:
    source = EncodedImages(folder, LISTING, folder_reader(folder), Form((8, 8), 3))
    (folder / NAMES[1]).unlink()
    with pytest.raises(DataError, match=r"cannot read .*/train/b/2.png: No such file"):
        source.read(np.array([1], dtype=np.int64))


def test_a_member_that_climbs_out_is_refused(tmp_path: Path) -> None:
    for name in ("../outside.png", "/etc/outside.png", "train/../../outside.png"):
        archive = tmp_path / "bad.tar"
        with tarfile.open(archive, "w") as tar:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        with pytest.raises(DataError, match="expected relative names"):
            list(tar_members(archive))


def test_links_and_folders_in_an_archive_are_not_read(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "links.tar"
    with tarfile.open(archive, "w") as tar:
        link = tarfile.TarInfo("train/a/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        tar.add(folder / NAMES[0], NAMES[0])
    assert [name for name, _ in tar_members(archive)] == [NAMES[0]]


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_a_truncated_archive_is_named(mode: str, folder: Path, tmp_path: Path) -> None:
    archive = pack(folder, tmp_path / "images.tar", NAMES, mode)
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"images.tar is not a whole tar archive"):
        list(tar_members(archive))


def test_a_file_that_is_no_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "images.tar.xz").write_bytes(b"no archive" * 100)
    with pytest.raises(DataError, match=r"images.tar.xz is not a whole tar archive"):
        list(tar_members(tmp_path / "images.tar.xz"))
