"""Networks whose bits are the same on every machine: exact layers, losses, optimisers, and a guard that holds them."""

from db3.arithmetic.dropout import drawing
from db3.arithmetic.functions import cos, exp, log, power, sigmoid, sin, sqrt, tanh
from db3.arithmetic.guard import InexactOperationError, exact_only, integer_sums
from db3.arithmetic.initial import initialise
from db3.arithmetic.losses import log_softmax, softmax, student_loss
from db3.arithmetic.optimisers import SGD, AdamW, half_cosine, warmup_cosine
from db3.arithmetic.reduce import ALONE, GroupReduce, Reduce, reducing
from db3.arithmetic.twins import float32_weights, has_twin, is_exact, round_weights, to_exact

__all__ = [
    "ALONE",
    "SGD",
    "AdamW",
    "GroupReduce",
    "InexactOperationError",
    "Reduce",
    "cos",
    "drawing",
    "exact_only",
    "exp",
    "float32_weights",
    "half_cosine",
    "has_twin",
    "initialise",
    "integer_sums",
    "is_exact",
    "log",
    "log_softmax",
    "power",
    "reducing",
    "round_weights",
    "sigmoid",
    "sin",
    "softmax",
    "sqrt",
    "student_loss",
    "tanh",
    "to_exact",
    "warmup_cosine",
]
