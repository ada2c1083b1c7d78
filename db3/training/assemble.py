"""One batch: its images, changed and mixed as the settings say, and what they shall teach."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from db3.settings.training import Changes
from db3.training.augmentation import Augment, augmentation
from db3.training.batches import Indices, Part
from db3.training.examples import pixels
from db3.training.learner import Aims, Targets
from db3.training.mixing import draw_share, mixup
from db3.training.ranks import Rank


@dataclass(frozen=True)
class Assembly:
    """Makes this process's share of every batch.

    Attributes:
        parts: what batches are made of; examples of later parts are numbered on after those of earlier ones.
        changes: of the images.
        seed: of the changes.
        rank: which of the processes this is.
    """

    parts: Sequence[Part]
    changes: Changes
    seed: int
    rank: Rank

    def batch(self, step: int) -> tuple[Float[Tensor, "n c h w"], Aims]:
        """The next batch, which has to be that of `step`: images on the CPU, and their targets on the device."""
        drawn = [next(part.batches) for part in self.parts]
        images, targets = self._changed(drawn, step)
        share = draw_share(self.changes.mix, self.seed, step)
        if not share:
            return images, [(1.0, targets)]
        # Orders are random, so an image's neighbour is as good a partner as any.
        partners, theirs = self._changed(drawn, step, by=1)
        return mixup(images, partners, share), [(1 - share, targets), (share, theirs)]

    @cached_property
    def _augment(self) -> Augment | None:
        return augmentation(self.changes.augment, self.seed, self.changes.crop)

    def _changed(self, drawn: Sequence[Indices], step: int, by: int = 0) -> tuple[Tensor, list[Targets]]:
        """Images and targets, each part's turned by so many places; made on the CPU, so the same for every device."""
        chosen = self.rank.share([np.roll(rows, by) for rows in drawn])
        images = pixels(
            np.concatenate([part.examples.images[rows] for part, rows in zip(self.parts, chosen, strict=True)])
        )
        if self._augment:
            numbers = [part.first + rows for part, rows in zip(self.parts, chosen, strict=True)]
            seen = self.rank.share([np.roll(part.seen(step), by) for part in self.parts])
            images = self._augment(images, step, np.concatenate(numbers), np.concatenate(seen))
        whole = map(len, drawn)
        return images, [_targets(*each) for each in zip(self.parts, chosen, whole, strict=True)]


def _targets(part: Part, rows: Indices, whole: int) -> Targets:
    at = torch.from_numpy(rows).to(part.decisions.device)
    soft = None if part.soft is None else part.soft[at]
    return Targets(part.decisions[at], soft, whole, part.ce, part.kl, part.temperature)
