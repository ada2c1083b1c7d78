import pytest
import torch

from db3.errors import ConfigError
from db3.networks import build, count_parameters


@pytest.mark.parametrize(
    ("name", "parameters"), [("lenet5", 187_780), ("lenet5_half", 47_645), ("lenet5_fifth", 7_964)]
)
def test_parameters_are_the_papers(name: str, parameters: int) -> None:
    assert count_parameters(build(name, (1, 28, 28), 10)) == parameters


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 32, 32), (2, 17, 40)])
def test_other_shapes(shape: tuple[int, int, int]) -> None:
    assert build("lenet5_fifth", shape, 7)(torch.rand(3, *shape)).shape == (3, 7)


def test_too_small_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"images of shape \[1, 15, 28\] \(C, H, W\) do not fit lenet5") as caught:
        build("lenet5", (1, 15, 28), 10)
    assert "\n" not in str(caught.value)
