"""Exact twins of the catalogue's networks: the same function, names and files; nothing inexact inside."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from db3.arithmetic import (
    SGD,
    AdamW,
    InexactOperationError,
    drawing,
    exact_only,
    float32_weights,
    initialise,
    round_weights,
    student_loss,
    to_exact,
    warmup_cosine,
)
from db3.errors import ConfigError, Db3Error
from db3.networks import build
from db3.training.losses import student_loss as plain_loss
from tests.arithmetic.helpers import digest, draw, exact_equal

NETWORKS = [("lenet5_fifth", (1, 28, 28)), ("compact", (3, 8, 8)), ("alexnet_quarter", (3, 16, 16)),
            ("resnet18_small", (3, 8, 8)), ("squeezenet1_1", (3, 32, 32))]  # fmt: skip


def _images(shape: tuple[int, int, int], count: int = 6) -> Tensor:
    return (draw(count, *shape).abs() * 255).round() / 255


@pytest.mark.parametrize(("name", "shape"), NETWORKS)
def test_a_twin_is_the_same_function_and_exact(name: str, shape: tuple[int, int, int]) -> None:
    plain = build(name, shape, 10, seed=1)
    for module in plain.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    twin, plain = to_exact(plain), plain.double()
    images, decisions, soft = _images(shape), torch.arange(6), torch.full((6, 10), 0.1, dtype=torch.float64)
    with exact_only():
        logits = twin(images)
        loss = student_loss(logits, decisions, soft, ce=0.7, kl=0.4, temperature=2.0)
        loss.backward()
    wanted = plain(images)

    torch.testing.assert_close(logits, wanted, rtol=2e-4, atol=2e-4)
    torch.testing.assert_close(
        loss, plain_loss(wanted, decisions, soft, ce=0.7, kl=0.4, temperature=2.0), rtol=1e-4, atol=1e-4
    )
    twin.eval()
    with exact_only(), torch.no_grad():
        together, alone = twin(images), torch.cat([twin(image[None]) for image in images])
    assert exact_equal(together, alone)
    torch.testing.assert_close(together, plain.eval()(images), rtol=2e-4, atol=2e-4)


def test_weights_go_there_and_back() -> None:
    plain = build("compact", (1, 8, 8), 10, seed=2)
    twin = to_exact(plain)

    assert list(twin.state_dict()) == list(plain.state_dict())
    assert digest(float32_weights(twin).values()) == digest(plain.state_dict().values())
    plain.load_state_dict(float32_weights(twin))
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1e-12)
    round_weights(twin)
    again = to_exact(plain)
    again.load_state_dict(float32_weights(twin))
    assert digest(again.state_dict().values()) == digest(twin.state_dict().values())


def test_what_has_no_twin_is_refused_by_name() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.GELU()))
    with pytest.raises(ConfigError, match=r"layer 1\.0 \(GELU\) has no exact twin; .*float32"):
        to_exact(network)
    with pytest.raises(ConfigError, match="layer 0 pads with circular"):
        to_exact(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")))

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 2)

        def forward(self, values: Tensor) -> Tensor:
            return self.inner(values).softmax(1)

    with pytest.raises(ConfigError, match="layer itself"):
        to_exact(Own())
    twin, values = to_exact(Own(), frames=[Own]), draw(2, 2)
    with pytest.raises(InexactOperationError, match="softmax"), exact_only():
        twin(values)


def test_nan_in_the_images_names_the_layer() -> None:
    twin = to_exact(build("lenet5_fifth", (1, 28, 28), 10)).eval()
    images = _images((1, 28, 28))
    images[3, 0, 5, 5] = torch.nan

    with pytest.raises(Db3Error, match=r"body\.conv1: its inputs hold nan"):
        twin(images)


@pytest.mark.parametrize(
    "call",
    [lambda x: x @ x.t(), torch.sum, torch.mean, torch.exp, lambda x: x.softmax(1), torch.sqrt, torch.norm,
     lambda x: torch.addcmul(x, x, x), lambda x: torch.lerp(x, x, 0.5), lambda x: torch.add(x, x, alpha=0.1)],
)  # fmt: skip
def test_the_guard_sees_inexact_operations(call: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(InexactOperationError), exact_only():
        call(draw(3, 3).abs())


def test_dropout_is_keyed_by_image() -> None:
    twin = to_exact(nn.Sequential(nn.Flatten(), nn.Dropout(0.4)))
    values = torch.ones(8, 500, dtype=torch.float64)
    with exact_only(), drawing(3, 5):
        whole = twin(values)
    with drawing(3, 5, first=6):
        rest = twin(values[6:])
    with drawing(3, 6):
        later = twin(values)

    assert exact_equal(rest, whole[6:])
    assert not torch.equal(later, whole)
    assert set(whole.unique().tolist()) == {0.0, 1 / 0.6}
    assert abs((whole == 0).double().mean().item() - 0.4) < 0.03
    with pytest.raises(ConfigError, match="1 drops values"):
        twin(values)


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_optimisers_are_torchs(decay: float) -> None:
    for ours, theirs in (
        (AdamW, lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=decay)),
        (lambda p, weight_decay: SGD(p, momentum=0.9, weight_decay=weight_decay),
         lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=decay)),
    ):  # fmt: skip
        first, second = (nn.Parameter(draw(5, 4)) for _ in range(2))
        mine, torchs = ours([first], weight_decay=decay), theirs([second])
        for step in range(8):
            first.grad = draw(5, 4, seed=step)
            second.grad = draw(5, 4, seed=step)
            with exact_only():
                mine.step(0.1)
            torchs.step()
        torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-13)


def test_the_schedule_is_a_warm_up_and_half_a_cosine() -> None:
    rising = [2e-3 * (step + 1) / 11 for step in range(10)]
    falling = [1e-3 * (1 + math.cos(math.pi * step / 70)) for step in range(70)]

    assert warmup_cosine(80, 2e-3, 10) == pytest.approx(rising + falling, rel=1e-14)


def test_initial_weights() -> None:
    plain = build("lenet5", (1, 28, 28), 10)
    initialise(plain, 3)
    state = plain.state_dict()

    assert digest(state.values()) == "a723dc7d0cfeb3db"
    assert abs(state["body.conv2.weight"].std().item() * 500**0.5 * 3**0.5 - 1) < 0.02
    resnet = build("resnet18_small", (3, 8, 8), 10)
    initialise(resnet, 3)
    weight = resnet.state_dict()["body.layer1.0.conv1.weight"]
    assert abs(weight.std().item() * (64 * 9 / 2) ** 0.5 - 1) < 0.02
    assert digest([weight]) == "1e85e0d9ebd7f8bf"
