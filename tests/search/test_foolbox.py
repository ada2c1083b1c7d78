"""An independent path: foolbox's HopSkipJump on the same network, samples, targets and start samples."""

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from db3.search import SearchSettings, search_distances
from db3.search.starts import nearest_starts
from tests.search.conftest import RealTeacher

with warnings.catch_warnings():
    # foolbox 3.3.4 takes a filter from scipy's old namespace.
    warnings.filterwarnings("ignore", "Please import `gaussian_filter`", DeprecationWarning)
    foolbox = pytest.importorskip("foolbox", reason="needs the extra `test`")

SAMPLES = 8


class _Counting(nn.Module):
    """The network, counting every image it is given."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.asked = 0

    def forward(self, images: Tensor) -> Tensor:
        self.asked += len(images)
        logits: Tensor = self.network(images)
        return logits


def test_mbd_finds_distances_like_hop_skip_jump_with_no_more_queries(real_teacher: RealTeacher) -> None:
    """foolbox counts for itself, through the network; its mean over the samples is at least our budget."""
    pool, rows = real_teacher.pool, range(SAMPLES)
    images = torch.from_numpy(pool.images).float() / 255
    targets = (pool.decisions[:SAMPLES] + 1) % 10
    nearest, _ = nearest_starts(pool.images[:SAMPLES], pool.images, pool.decisions, 10, 1)
    starts = images[nearest[np.arange(SAMPLES), targets, 0]]

    counting = _Counting(real_teacher.network).eval()
    model = foolbox.PyTorchModel(counting, bounds=(0, 1), device="cpu")
    torch.manual_seed(0)
    attack = foolbox.attacks.HopSkipJumpAttack(
        steps=3, initial_gradient_eval_steps=30, max_gradient_eval_steps=100, stepsize_search="geometric_progression"
    )
    criterion = foolbox.criteria.TargetedMisclassification(torch.from_numpy(targets))
    _, found, success = attack(model, images[:SAMPLES], criterion, starting_points=starts, epsilons=None)
    assert success.all()
    theirs = (found - images[:SAMPLES]).flatten(1).norm(dim=1).numpy()
    budget = counting.asked // SAMPLES

    method = SearchSettings("mbd", budget=budget, starts=1, directions=20, cell=1)
    ours = search_distances(real_teacher.teacher, pool, rows, method)
    mine = ours.distances[np.arange(SAMPLES), targets]
    assert (ours.distances > 0).sum() == SAMPLES * 9
    assert ours.asked.max() <= budget
    assert mine.mean() < 1.05 * theirs.mean()
    assert (mine < 1.5 * theirs).all()
