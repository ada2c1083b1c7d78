"""`db3 answers`: what is held, carried from store to store, forgotten and checked."""

from pathlib import Path

import pytest

from db3.teachers.answers.command import main
from db3.teachers.answers.place import close_answers, open_answers
from db3.teachers.answers.store import Account
from tests.contracts.answer_store import image

FIRST, WIDE = Account("a" * 64, 10, "http m"), Account("b" * 64, 300, "callable f:g")


@pytest.fixture
def stores(tmp_path: Path) -> tuple[str, str]:
    mine, theirs = (str(tmp_path / f"{name}.sqlite") for name in ("mine", "theirs"))
    open_answers(mine).commit(FIRST, {image(1): b"\x03", image(2): b"\x04"}, sent=3)
    open_answers(theirs).commit(FIRST, {image(2): b"\x05", image(3): b"\x01\x02", image(1): b"\x03\x03"}, sent=4)
    open_answers(theirs).commit(WIDE, {image(2): b"\x05\x01"}, sent=1)
    close_answers()
    return mine, theirs


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(arguments)
    out, error = capsys.readouterr()
    return status, out + error


def test_what_is_held_is_listed_with_its_cost(stores: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    status, text = told(capsys, "--store", stores[1], "list", "--price", "500")
    assert status == 0
    _, title, first, second = text.splitlines()
    assert title.split()[:6] == ["teacher", "images", "votes", "sent", "lost", "cost"]
    assert first.split()[:6] == ["aaaaaaaaaaaa", "3", "5", "4", "-1", "2.00"]
    assert second.split()[:6] == ["bbbbbbbbbbbb", "1", "1", "1", "0", "0.50"]
    assert second.endswith("callable f:g")


def test_answers_are_carried_and_contradictions_told(
    stores: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    mine, theirs = stores
    file = str(tmp_path / "answers.parquet")
    assert told(capsys, "--store", theirs, "export", file) == (0, f"4 images written to {file}\n")
    status, text = told(capsys, "--store", mine, "import", file)
    assert status == 1
    assert text.splitlines()[0] == "3 images added, 0 known already"
    assert "1 images contradict: the answers of" in text
    assert f"image {image(2).hex()}: [4] here, [5] there" in text
    store = open_answers(mine)
    assert dict(store.read(FIRST.teacher)) == {image(1): b"\x03\x03", image(2): b"\x04", image(3): b"\x01\x02"}
    assert dict(store.read(WIDE.teacher)) == {image(2): b"\x05\x01"}
    assert store.balance(FIRST) == (3, 2)  # what others have sent is not on our bill
    status, text = told(capsys, "--store", mine, "import", file)
    assert text.splitlines()[0] == "0 images added, 3 known already"
    assert told(capsys, "--store", theirs, "export", file, "--teacher", "b") == (0, f"1 images written to {file}\n")
    new = str(tmp_path / "new.sqlite")
    assert told(capsys, "--store", new, "import", file) == (0, "1 images added, 0 known already\n")


def test_a_file_that_is_none_is_refused_in_one_line(
    stores: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    import pyarrow.parquet as pq

    (tmp_path / "text").write_text("no file of that kind")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other")
    for name, words in (("text", "cannot read"), ("absent", "cannot read"), ("other", "has other columns")):
        status, text = told(capsys, "--store", stores[0], "import", str(tmp_path / name))
        assert status == 1
        assert words in text
        assert len(text.splitlines()) == 1


def test_a_teacher_is_forgotten_by_the_beginning_of_its_name(
    stores: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(capsys, "--store", stores[1], "forget", "bb") == (
        0,
        "the answers to 1 images of bbbbbbbbbbbb are forgotten\n",
    )
    status, text = told(capsys, "--store", stores[1], "forget", "x")
    assert status == 1
    assert "'x' begins the identity of 0 teachers; expected one of aaaaaaaaaaaa, bbbbbbbbbbbb" in text


def test_damage_is_found(stores: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "--store", stores[0], "check") == (0, f"{stores[0]} is whole\n")
    rare = bytes(range(100, 116))
    open_answers(stores[0]).commit(FIRST, {rare: b"\x05"})
    close_answers()
    data = bytearray(Path(stores[0]).read_bytes())
    place = data.index(rare)
    data[place + 16] ^= 1  # its answer
    Path(stores[0]).write_bytes(data)
    status, text = told(capsys, "--store", stores[0], "check")
    assert status == 1
    assert f"the answers to the image {rare.hex()} are not as they were written" in text


def test_no_store_is_no_empty_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = told(capsys, "--store", str(tmp_path / "absent"), "list")
    assert status == 1
    assert "there is no store of answers at" in text
    assert not (tmp_path / "absent").exists()


def test_a_damaged_store_is_repaired(stores: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    _, theirs = stores
    assert told(capsys, "--store", theirs, "repair") == (0, f"{theirs} is whole\n")
    close_answers()
    data = Path(theirs).read_bytes()
    Path(theirs).write_bytes(data.replace(image(3), image(4)))
    status, text = told(capsys, "--store", theirs, "check")
    assert status == 1
    assert "`db3 answers repair`" in text
    close_answers()
    assert told(capsys, "--store", theirs, "repair") == (
        0,
        f"3 images kept; the damaged file lies at {theirs}.damaged\n",
    )
    assert told(capsys, "--store", theirs, "check") == (0, f"{theirs} is whole\n")
    assert dict(open_answers(theirs).read(FIRST.teacher)) == {image(1): b"\x03\x03", image(2): b"\x05"}
    assert open_answers(theirs).balance(FIRST) == (4, 5)
