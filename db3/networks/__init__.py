"""Networks by name: pixels in [0, 1] to logits, with exact parameter counts and repeatable initial weights."""

from db3.networks.catalogue import NAMES, build
from db3.networks.catalogue import build as build_network
from db3.networks.count import count_parameters, multiply_adds
from db3.networks.fitting import StudentChoice, choose_student
from db3.networks.network import Network, Normalise
from db3.networks.weights import load_weights, read_initial_weights, save_weights
from db3.networks.whitening import whiten

__all__ = [
    "NAMES",
    "Network",
    "Normalise",
    "StudentChoice",
    "build",
    "build_network",
    "choose_student",
    "count_parameters",
    "load_weights",
    "multiply_adds",
    "read_initial_weights",
    "save_weights",
    "whiten",
]
