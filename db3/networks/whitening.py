"""The first layer of `resnet9`, from the images that are learnt: small patches become uncorrelated and of equal size.

Source: Page, "How to train your ResNet 8: bag of tricks" (2019); Jordan (2024), whose 2×2 patches, number of images,
additive constant and both signs these are.

Notes:
    The same bits on every machine: sums of whole numbers, then Jacobi's rotations in single IEEE operations, where both
    took a library's eigenvectors.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float64, UInt8
from torch import nn

from db3.networks.network import Network
from db3.networks.resnet9 import ResNet9

_IMAGES = 5000  # that are looked at
_FLOOR = 5e-4  # added to each variance
_SWEEPS = 30  # Jacobi's method converges quadratically: ten are enough for any such matrix

Matrix = Float64[np.ndarray, "p p"]


def whiten(network: nn.Module, images: UInt8[np.ndarray, "n c h w"]) -> None:
    """Set the first layer of a `resnet9` in place; other networks are left as they are.

    Args:
        network: as `db3.networks.build` made it.
        images: that it will learn, the first 5,000 of which count.
    """
    if not (isinstance(network, Network) and isinstance(network.body, ResNet9)):
        return
    stem = network.body.get_submodule("stem")
    weight = stem.get_parameter("weight")
    normalise = network.normalise
    side = weight.shape[2]
    covariance = patch_covariance(images[:_IMAGES], side, normalise.mean.tolist(), normalise.std.tolist())
    variances, directions = eigenvectors(covariance)
    filters = directions / np.sqrt(variances + _FLOOR)[:, None]
    with torch.no_grad():
        weight.copy_(torch.from_numpy(np.concatenate([filters, -filters])).view(weight.shape))


def patch_covariance(images: UInt8[np.ndarray, "n c h w"], side: int, mean: list[float], std: list[float]) -> Matrix:
    """Mean product of any two values of a patch of normalised pixels, over all patches of all images.

    Args:
        images: stored ones.
        side: of a patch, in pixels.
        mean: of each channel, of pixels in [0, 1].
        std: likewise.
    """
    channels = images.shape[1]
    size, number = channels * side * side, 0
    sums, products = np.zeros(size), np.zeros((size, size))
    for start in range(0, len(images), 250):
        windows = np.lib.stride_tricks.sliding_window_view(images[start : start + 250], (side, side), axis=(2, 3))
        patches = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, size).astype(np.float64)
        sums += patches.sum(axis=0)  # whole numbers far below 2^53: exact in any order
        products += patches.T @ patches
        number += len(patches)
    middle, scale = (np.repeat(np.array(values, np.float64), side * side) for values in (mean, std))
    first, second = sums / (255 * number), products / (255 * 255 * number)
    cross = first[:, None] * middle
    covariance: Matrix = (second - cross - cross.T + middle[:, None] * middle) / (scale[:, None] * scale)
    return covariance


def eigenvectors(symmetric: Matrix) -> tuple[npt.NDArray[np.float64], Matrix]:
    """Eigenvalues, and an eigenvector in each row, in no order, by cyclic Jacobi rotations.

    Source: Golub and Van Loan, "Matrix Computations", section 8.5.
    """
    matrix, rows = symmetric.copy(), np.eye(len(symmetric))
    for _ in range(_SWEEPS):
        for p in range(len(matrix) - 1):
            for q in range(p + 1, len(matrix)):
                if matrix[p, q] != 0:
                    _rotate(matrix, rows, p, q)
    return matrix.diagonal().copy(), rows


def _rotate(matrix: Matrix, rows: Matrix, p: int, q: int) -> None:
    """Make the entry (p, q) zero, in place."""
    half = float(matrix[q, q] - matrix[p, p]) / (2 * float(matrix[p, q]))
    if not math.isfinite(half * half):
        matrix[p, q] = matrix[q, p] = 0.0  # too small to turn anything
        return
    tangent = math.copysign(1.0, half) / (abs(half) + math.sqrt(half * half + 1))
    cosine = 1 / math.sqrt(tangent * tangent + 1)
    sine = tangent * cosine
    for both in (matrix, matrix.T, rows):
        first, second = both[p].copy(), both[q].copy()
        both[p] = first * cosine - second * sine
        both[q] = first * sine + second * cosine
    matrix[p, q] = matrix[q, p] = 0.0
