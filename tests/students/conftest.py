"""The small networks and problems of the tests of training."""

from tests.training.conftest import bars, small_network, weights

__all__ = ["bars", "small_network", "weights"]
