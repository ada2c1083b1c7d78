"""Batch normalisation and gradients spread over two real processes, held against torch's own over the whole batch."""

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes

from db3.errors import ConfigError
from db3.training.batch_norm import WholeBatchNorm
from db3.training.ranks import Rank, Rows

BATCH = 7  # three images and four


def problem() -> tuple[nn.Module, Tensor, Tensor]:
    """Layers of both kinds, images and weights of a loss, in float64: rounding is then far below any mistake."""
    drawn = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=None), nn.Flatten(), nn.BatchNorm1d(64)
    ).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=drawn))
    images = torch.randn(BATCH, 3, 6, 6, generator=drawn, dtype=torch.float64) * 3 + 5
    return network, images, torch.randn(BATCH, 64, generator=drawn, dtype=torch.float64)


def learnt(network: nn.Module, model: nn.Module, images: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Answers and gradients, the images' own included, and the state, after two passes of `model`."""
    images = images.clone().requires_grad_()
    for _ in range(2):
        answers = model(images)
    (answers.tanh() * weights).sum().backward()
    assert images.grad is not None
    gradients = {f"gradient.{name}": parameter.grad for name, parameter in network.named_parameters()}
    found = {"answers": answers.detach(), "images": images.grad, **network.state_dict(), **gradients}
    return {name: tensor.contiguous() for name, tensor in found.items() if tensor is not None}


def in_part(number: int, folder: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = (Path(folder) / "store").as_uri()
    dist.init_process_group("gloo", init_method=store, rank=number, world_size=2)
    network, images, weights = problem()
    rank = Rank(number, 2)
    rows = rank.rows(BATCH)
    with WholeBatchNorm(rows):
        found = learnt(network, rank.joined(network), images[rows.start : rows.stop], weights[rows.start : rows.stop])
    save_file(found, f"{folder}/{number}.safetensors")
    dist.destroy_process_group()


def test_two_processes_normalise_and_learn_as_one_does(tmp_path: Path) -> None:
    # Forked from a process that has torch already.
    multiprocessing.set_forkserver_preload(["db3.training.processes", "torch._dynamo"])
    start_processes(in_part, (str(tmp_path),), nprocs=2, start_method="forkserver")
    network, images, weights = problem()
    whole = learnt(network, network, images, weights)
    parts = [load_file(tmp_path / f"{number}.safetensors") for number in range(2)]
    for name, expected in whole.items():
        if name in ("answers", "images"):
            torch.testing.assert_close(torch.cat([part[name] for part in parts]), expected, rtol=1e-9, atol=1e-11)
        else:
            for part in parts:
                torch.testing.assert_close(part[name], expected, rtol=1e-9, atol=1e-11)
    assert len(whole) == 2 + 17 + 8


def test_in_evaluation_it_is_torch_s_own() -> None:
    network, images, _ = problem()
    network.eval()
    with WholeBatchNorm(Rows(0, 3, 7)):
        answers = network(images)
    assert torch.equal(answers, network(images))


def test_rows_that_are_no_images_are_refused() -> None:
    layer: Any = nn.BatchNorm1d(2)
    with pytest.raises(ConfigError, match=r"sees 4 rows of 3 images.*in one process"), WholeBatchNorm(Rows(0, 3, 7)):
        layer(torch.ones(4, 2))
