"""The contract of a teacher as a test class: each adapter subclasses it with one fixture, `teacher`."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from db3.teachers.adapters.batching import Batching
from db3.teachers.base import Teacher

COUNT = 23


class TeacherContract:
    """What `db3/teachers/base.py` promises, for one adapter.

    Subclasses give the fixture `teacher`, and `images` where random pixels would all be decided alike. `EXTRA` names
    public attributes beyond `spec` and `decide`; none of them may tell scores.
    """

    EXTRA: frozenset[str] = frozenset()

    @pytest.fixture
    def teacher(self) -> Any:
        raise NotImplementedError("a subclass gives the teacher")

    @pytest.fixture
    def images(self, teacher: Teacher) -> Tensor:
        """Images of several brightnesses over the whole range of the bounds."""
        low, high = teacher.spec.bounds
        drawn = torch.Generator().manual_seed(5)
        pixels = torch.rand(COUNT, *teacher.spec.input_shape, generator=drawn)
        level = torch.linspace(-0.5, 0.5, COUNT).view(-1, 1, 1, 1)
        return (pixels + level).clamp(0, 1) * (high - low) + low

    def test_it_is_a_teacher(self, teacher: Teacher) -> None:
        assert isinstance(teacher, Teacher)

    def test_its_spec_is_sound_and_fixed(self, teacher: Teacher) -> None:
        spec = teacher.spec
        assert spec == teacher.spec
        assert min(spec.input_shape) >= 1
        assert spec.bounds[0] < spec.bounds[1]
        assert spec.classes >= 2
        assert spec.max_batch >= 1
        assert spec.identity
        assert spec.identity[:12] in str(spec)
        with pytest.raises(dataclasses.FrozenInstanceError):
            spec.classes = 99  # type: ignore[misc]

    def test_decisions_are_one_int64_class_per_image(self, teacher: Teacher, images: Tensor) -> None:
        for count in (1, min(COUNT, teacher.spec.max_batch)):
            decisions = teacher.decide(images[:count])
            assert decisions.dtype == torch.int64
            assert decisions.shape == (count,)
            assert ((decisions >= 0) & (decisions < teacher.spec.classes)).all()
            assert not decisions.requires_grad

    def test_the_images_here_are_not_all_decided_alike(self, teacher: Teacher, images: Tensor) -> None:
        """Otherwise the tests of order and packing below could not fail."""
        assert len(Batching(teacher).decide(images).unique()) > 1

    def test_answers_come_in_the_order_of_the_images(self, teacher: Teacher, images: Tensor) -> None:
        images = images[: teacher.spec.max_batch]
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
        assert torch.equal(teacher.decide(images[order]), teacher.decide(images)[order])

    @pytest.mark.parametrize("size", [1, 2, 7, COUNT])
    def test_answers_do_not_depend_on_the_packing(self, teacher: Teacher, images: Tensor, size: int) -> None:
        batching = Batching(teacher)
        parts = [batching.decide(part) for part in images.split(size)]
        assert torch.equal(torch.cat(parts), batching.decide(images))

    def test_it_forgets_what_it_was_asked(self, teacher: Teacher, images: Tensor) -> None:
        images = images[: teacher.spec.max_batch]
        first = teacher.decide(images)
        teacher.decide(images.flip(0))
        assert torch.equal(teacher.decide(images), first)

    def test_images_are_left_as_they_were(self, teacher: Teacher, images: Tensor) -> None:
        images = images[: teacher.spec.max_batch]
        before = images.clone()
        teacher.decide(images)
        assert torch.equal(images, before)

    def test_the_layout_in_memory_does_not_matter(self, teacher: Teacher, images: Tensor) -> None:
        images = images[: teacher.spec.max_batch]
        decisions = teacher.decide(images)
        assert torch.equal(teacher.decide(images.to(memory_format=torch.channels_last)), decisions)
        spread = torch.stack([images, images], dim=1).unbind(dim=1)[0]
        assert not spread.is_contiguous() or len(images) == 1
        assert torch.equal(teacher.decide(spread), decisions)

    def test_it_has_no_way_to_tell_scores(self, teacher: Teacher) -> None:
        public = {name for name in dir(teacher) if not name.startswith("_")}
        assert public == {"decide", "spec"} | self.EXTRA

    def test_a_search_can_be_run_on_what_it_returns(self, teacher: Teacher, images: Tensor) -> None:
        """Answers of inference mode would refuse the in-place arithmetic of a search."""
        decisions = teacher.decide(images[:1])
        decisions += 0
        assert not decisions.is_inference()
