"""The networks of the speed records, and their first layer from the images."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from db3.arithmetic import has_twin, to_exact
from db3.networks import NAMES, build, count_parameters, whiten
from db3.networks.resnet9 import RESNET9
from db3.networks.whitening import eigenvectors
from db3.training.examples import network_for, pixels

SIZES = {"resnet9": 1_972_768, "resnet9_half": 498_080, "resnet9_quarter": 127_072}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Smooth colour images: neighbouring pixels and the channels are alike."""
    drawn = torch.rand(300, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    drawn[:, 1] = drawn[:, 0] * 0.7 + drawn[:, 1] * 0.3
    large = functional.interpolate(drawn, (20, 20), mode="bilinear")
    return (large * 255).to(torch.uint8).numpy()


@pytest.mark.parametrize("name", SIZES)
def test_the_sizes_that_are_documented(name: str) -> None:
    assert count_parameters(build(name, (3, 32, 32), 10)) == SIZES[name]
    assert count_parameters(build(f"{name}_mirrored", (3, 32, 32), 10)) == SIZES[name]
    assert {name, f"{name}_mirrored"} <= set(RESNET9) & set(NAMES)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 17), (3, 64, 48)])
def test_images_of_other_sizes(shape: tuple[int, int, int]) -> None:
    assert build("resnet9_quarter", shape, 4).eval()(torch.rand(2, *shape)).shape == (2, 4)


def test_the_exact_twin_says_the_same(images: np.ndarray) -> None:
    network = network_for("resnet9_quarter_mirrored", images, 10, 3).eval()
    assert has_twin(network)
    shown = pixels(images[:4])
    with torch.no_grad():
        assert torch.allclose(to_exact(network)(shown).float(), network(shown), atol=1e-5)


def test_a_mirrored_network_decides_an_image_as_its_mirror_image(images: np.ndarray) -> None:
    shown = pixels(images[:4])
    plain, mirrored = (network_for(f"resnet9_quarter{tail}", images, 10, 3).eval() for tail in ("", "_mirrored"))
    with torch.no_grad():
        both = plain(shown), plain(shown.flip(3))
        assert not torch.equal(*both)
        assert torch.equal(mirrored(shown), (both[0] + both[1]) * 0.5)
        assert torch.equal(mirrored(shown), mirrored(shown.flip(3)))


def test_the_first_layer_decorrelates_patches_and_is_not_trained(images: np.ndarray) -> None:
    network = network_for("resnet9_quarter", images, 10, 0)
    stem = network.get_submodule("body.stem")
    with torch.no_grad():
        values = stem(network.get_submodule("normalise")(pixels(images))).double()
    rows = values.permute(0, 2, 3, 1).reshape(-1, 24)
    assert torch.equal(rows[:, :12], -rows[:, 12:])
    products = rows[:, :12].T @ rows[:, :12] / len(rows)
    assert float((products - products.diag().diag()).abs().max()) < 1e-4
    assert 0.5 < float(products.diag().min()) <= float(products.diag().max()) < 1.0001
    assert not any(parameter.requires_grad for parameter in stem.parameters())


def test_other_networks_keep_their_first_layer(images: np.ndarray) -> None:
    network = build("compact", (3, 20, 20), 10)
    before = [tensor.clone() for tensor in network.state_dict().values()]
    whiten(network, images)
    assert all(map(torch.equal, before, network.state_dict().values()))


def test_convolutions_start_as_the_identity() -> None:
    network = build("resnet9_quarter", (3, 32, 32), 10)
    maps = torch.rand(1, 24, 5, 5)
    conv = network.get_submodule("body.conv1a")
    assert torch.equal(conv(maps)[:, :16], maps[:, :16])
    deeper = network.get_submodule("body.conv2a")
    assert torch.equal(deeper(maps[:, :16])[:, :16], maps[:, :16])
    assert float(deeper.get_parameter("weight").detach()[16:].abs().min()) > 0


def test_eigenvectors_of_a_symmetric_matrix() -> None:
    drawn = np.random.default_rng(0).normal(size=(12, 5))
    symmetric = drawn @ drawn.T  # of rank 5
    values, rows = eigenvectors(symmetric)
    assert np.allclose(rows @ symmetric @ rows.T, np.diag(values), atol=1e-12)
    assert np.allclose(rows @ rows.T, np.eye(12), atol=1e-14)
    assert np.allclose(np.sort(values), np.linalg.eigvalsh(symmetric), atol=1e-12)
    assert np.array_equal(eigenvectors(np.eye(3))[1], np.eye(3))
