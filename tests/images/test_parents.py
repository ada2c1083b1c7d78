import numpy as np

from db3.images.parents import draw_parents


def test_parents_come_from_every_class_alike() -> None:
    decisions = np.array([0] * 90 + [3] * 9 + [1])
    parents = draw_parents(decisions, np.arange(3000), 0)
    assert parents.shape == (3000, 2)
    for column in parents.T:
        shares = np.bincount(decisions[column], minlength=4) / 3000
        assert np.allclose(shares, [1 / 3, 1 / 3, 0, 1 / 3], atol=0.04)
        assert len(np.unique(column)) > 90


def test_real_parents_come_first_as_often_as_asked() -> None:
    decisions = np.array([0, 1] * 10 + [2] * 80)
    parents = draw_parents(decisions, np.arange(4000), 0, real=20, loyalty=0.5)
    usual = draw_parents(decisions, np.arange(4000), 0)
    changed = (parents != usual).any(axis=1)
    assert (parents[changed, 0] < 20).all()
    assert np.array_equal(parents[:, 1], usual[:, 1])
    assert abs((parents[:, 0] < 20).mean() - (0.5 + 0.5 * 2 / 3)) < 0.03


def test_parents_are_a_function_of_the_number() -> None:
    decisions = np.random.default_rng(0).integers(0, 5, 200)
    together = draw_parents(decisions, np.arange(100), 7)
    assert np.array_equal(draw_parents(decisions, np.array([99, 3]), 7), together[[99, 3]])
    assert not np.array_equal(draw_parents(decisions, np.arange(100), 8), together)
