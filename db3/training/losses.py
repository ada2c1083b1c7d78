"""The student's loss: cross-entropy with the decision beside a divergence from the soft label."""

import torch.nn.functional as F  # noqa: N812 - the name every PyTorch reader knows
from jaxtyping import Float, Int
from torch import Tensor

from db3.errors import ConfigError


def student_loss(
    logits: Float[Tensor, "n k"],
    decisions: Int[Tensor, " n"],
    soft_labels: Float[Tensor, "n k"] | None,
    *,
    ce: float,
    kl: float,
    temperature: float,
) -> Float[Tensor, ""]:
    """L = ce · CE(logits, m) + kl · τ² · KL(p ‖ softmax(logits / τ)), both means over the batch, in nats.

    This is the loss of Wang, "Zero-Shot Knowledge Distillation from a Decision-Based Black-Box Model" (ICML 2021,
    section 3.1) with Hinton's factor τ², which keeps the size of the KL's gradient independent of τ.

    Args:
        logits: the student's.
        decisions: m, the teacher's decision on each image.
        soft_labels: p, rows that sum to 1; zeros are exact (0 · log 0 = 0). Unused, and may be None, when `kl` is 0.
        ce: weight of the cross-entropy.
        kl: weight of the divergence.
        temperature: τ of the student inside the KL. p is taken as it is: a teacher's own temperature belongs into it.

    Raises:
        ConfigError: `kl` is not 0 but there are no soft labels.

    Notes:
        The author's code *sums* the KL over the batch beside a *mean* cross-entropy and has no τ², so there the weight
        of the soft label grows with the batch (512) and its gradient shrinks as 1/τ (20). Here the two weights mean
        the same at every batch size and temperature.
    """
    loss = logits.new_zeros(())
    if ce:
        loss = loss + ce * F.cross_entropy(logits, decisions)
    if kl:
        if soft_labels is None:
            raise ConfigError(f"the weight of the KL is {kl:g} but the examples have no soft labels: set it to 0")
        log_q = F.log_softmax(logits / temperature, dim=1)
        loss = loss + kl * temperature**2 * F.kl_div(log_q, soft_labels, reduction="batchmean")
    return loss
