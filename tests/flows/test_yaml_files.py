"""params.yaml, however it was damaged, is accepted or refused in one line."""

import random
from pathlib import Path

import pytest
from dvc.utils.serialize import load_yaml

from db3.errors import ConfigError
from flows.compose import write_params
from flows.config import load_config
from flows.yaml_files import read_yaml

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
PIECES = [
    "\t", "- ", ": ", "&a ", "*a", "!!int ", "!!float x", "!!python/object:os.system ", "{", "[", "}", "]", "'", '"',
    "null", "060", "1e-3", "yes", ".inf", ".nan", "-1", "9" * 30, "9" * 5000, "2020-13-45", "\x00", "±", "\ufeff", "\n",
    "---\n", "...\n", "<<: ", "? ", "| ", "%YAML 1.1\n", "[" * 2000, "0x" + "f" * 300, "!!bool x", "!!binary x", "hard",
]  # fmt: skip


def mutated(draw: random.Random) -> bytes:
    """params.yaml with one to three lines or characters changed, and now and then in another encoding."""
    lines = TEXT.splitlines(keepends=True)
    for _ in range(draw.randint(1, 3)):
        place, piece = draw.randrange(len(lines)), draw.choice(PIECES)
        line = lines[place]
        cut = draw.randrange(len(line) + 1)
        key = line.rstrip("\n").partition(":")[0]
        lines[place] = draw.choice(
            ["", line + line, line[:cut] + piece + line[cut:], line[:cut] + line[cut + 1 :], f"{key}: {piece}\n", piece]
        )
    content = "".join(lines).encode(draw.choice(["utf-8"] * 18 + ["utf-16", "latin-1"]), "replace")
    if draw.random() < 0.1:
        place = draw.randrange(len(content))
        content = content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :]
    return content


def outcomes(path: Path, count: int, seed: int) -> tuple[int, int]:
    """How many mutations were accepted and refused; anything but one line of a ConfigError passes through."""
    draw, accepted = random.Random(seed), 0  # noqa: S311
    for _ in range(count):
        path.write_bytes(mutated(draw))
        try:
            load_config(path)
            accepted += 1
        except ConfigError as error:
            if "\n" in str(error) or len(str(error)) > 1500:
                raise AssertionError(f"no short line: {error}") from error
    return accepted, count - accepted


def test_mutations_are_accepted_or_refused_in_one_line(tmp_path: Path) -> None:
    accepted, refused = outcomes(tmp_path / "params.yaml", 600, 0)
    assert accepted
    assert refused


@pytest.mark.slow
def test_ten_thousand_mutations(tmp_path: Path) -> None:
    assert all(outcomes(tmp_path / "params.yaml", 10_000, 1))


@pytest.mark.parametrize("value", ["1e-3", "060", "yes", "0x1F", "12:30", "1_000", "~", "0o17", "2020-01-02"])
def test_values_are_those_that_dvc_reads(tmp_path: Path, value: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"a: {value}\n")
    assert read_yaml(path) == load_yaml(str(path))


BROKEN = {
    "tab": b"dataset:\n\tname: digits\n",
    "Latin-1": b"# caf\xe9\n",
    "UTF-16": TEXT.encode("utf-16"),
    "deep": b"[" * 3000,
    "twice": b"a: 1\na: 2\n",
    "date": b"a: 2020-13-45\n",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_one_line_and_compose_repairs_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"^[^\n]*params\.yaml[^\n]*$"):
        load_config(path)
    write_params(conf=ROOT / "conf", params=path)
    assert path.read_text(encoding="utf-8") == TEXT


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  - smoothing\n", "  - hard\n", "distill.baselines: hard stands there twice"),
        ("  mean: null\n", "  mean: [0.5]\n", "teacher.mean: kind train takes mean and std from its own images"),
        ("  count: 100\n", f"  count: {10**30}\n", "below 2^63"),
    ],
)
def test_what_was_accepted_and_ignored_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "params.yaml"
    assert old in TEXT or old.lstrip() in TEXT
    path.write_text(TEXT.replace(old if old in TEXT else "  " + old.strip() + "\n", new))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert said in str(caught.value)
