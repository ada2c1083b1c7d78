"""A small exact training, as a function and as a script: prints digests of all that it decides.

python -m tests.arithmetic.trainings lenet5_half,compact 12 [processes]
"""

import os
import sys
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from db3.arithmetic import (
    ALONE,
    AdamW,
    GroupReduce,
    drawing,
    float32_weights,
    initialise,
    log_softmax,
    reducing,
    student_loss,
    to_exact,
    warmup_cosine,
)
from db3.networks import build
from tests.arithmetic.helpers import digest

SHAPES = {"lenet5_half": (1, 28, 28), "lenet5": (1, 28, 28), "compact": (1, 12, 12), "resnet18_small": (3, 8, 8)}
BATCH = 12


def train(name: str, steps: int, rank: int = 0, processes: int = 1) -> list[str]:
    """Digests of the weights, of logits in evaluation, and of an input gradient."""
    shape = SHAPES[name]
    plain = build(name, shape, 10, mean=[0.3] * shape[0], std=[0.25] * shape[0])
    initialise(plain, 5)
    network = to_exact(plain)
    draw = torch.Generator().manual_seed(1)
    images = torch.randint(256, (64, *shape), generator=draw).double() / 255
    decisions = torch.randint(10, (64,), generator=draw)
    soft = torch.randint(1, 100, (64, 10), generator=draw).double()
    soft = soft / soft.cumsum(1)[:, -1:]  # sums of integers
    optimiser = AdamW(network.parameters(), weight_decay=1e-4)
    first, last = BATCH * rank // processes, BATCH * (rank + 1) // processes
    reduce = ALONE if processes == 1 else GroupReduce(last - first, BATCH)
    for step, lr in enumerate(warmup_cosine(steps, 2e-3, 3)):
        rows = torch.randint(64, (BATCH,), generator=draw)[first:last]
        optimiser.zero_grad()
        with reducing(reduce), drawing(7, step, first):
            loss = student_loss(network(images[rows]), decisions[rows], soft[rows], ce=1.0, kl=0.5, temperature=2.0)
        loss.backward()
        optimiser.step(lr)
    network.eval()
    asked = images[:9].clone().requires_grad_()
    logged = log_softmax(network(asked))
    (gradient,) = torch.autograd.grad(logged[:, 3], asked, torch.ones(9, dtype=torch.float64))
    return [digest(float32_weights(network).values()), digest([logged]), digest([gradient]), digest([loss])]


def _work(rank: int, names: list[str], steps: int, processes: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes)
    for name in names:
        found = train(name, steps, rank, processes)
        if rank == 0:
            sys.stdout.write(" ".join(found) + "\n")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    which, count, together = sys.argv[1].split(","), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1
    if together == 1:
        for each in which:
            sys.stdout.write(" ".join(train(each, count)) + "\n")
    else:
        with tempfile.TemporaryDirectory() as temporary:
            mp.spawn(_work, (which, count, together, temporary), nprocs=together)
