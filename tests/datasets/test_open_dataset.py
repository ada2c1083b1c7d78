from pathlib import Path

import pytest

from db3.datasets import NAMES, open_dataset
from db3.errors import ConfigError, DataError


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"name is 'cifar_10'.*did you mean cifar10\?"):
        open_dataset("cifar_10")
    with pytest.raises(ConfigError, match="expected 'digits', 'mnist'"):
        open_dataset("zzz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_fraction": 1.0}, "test_fraction is 1.0"),
        ({"size": 0}, "size is 0"),
        ({"channels": 2}, "channels is 2"),
        ({"train_limit": 0}, "train_limit is 0"),
    ],
)
def test_arguments_out_of_range_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_dataset("digits", **options)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "digits"])
def test_missing_files_are_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=str(tmp_path)) as caught:
        open_dataset(name, tmp_path / "none", download=False)
    assert "\n" not in str(caught.value)
    assert "runtime.data_root" in str(caught.value)
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100", "flowers102"])
def test_unreachable_network_is_one_line_and_leaves_no_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot fetch .*: check the network") as caught:
        open_dataset(name, tmp_path)
    assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_root_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB3_DATA_ROOT", str(tmp_path / "from-environment"))
    with pytest.raises(DataError, match="from-environment"):
        open_dataset("image_folder")
