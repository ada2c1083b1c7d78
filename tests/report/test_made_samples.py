"""Made samples in the report: what is told, and which of them are shown."""

from typing import Any

import numpy as np
import pytest

from db3.report.made_samples import story
from db3.report.run import SampleFacts
from db3.report.snapshots import snapshots_by_round
from db3.zero_shot.foretold import front_door_warning, made_warning


@pytest.mark.parametrize(
    ("samples", "told", "silent"),
    [
        (
            {"method": "priors", "sources": {"real": 0, "prior": 800, "variation": 700}, "proposed": 9000},
            ["800 prior images", "700 variations", "9,000 were proposed", "No image of the dataset"],
            "real images",
        ),
        (
            {"method": "augmented", "sources": {"real": 100, "prior": 700, "variation": 700}, "proposed": 9000},
            ["100 real images", "1,500 asked"],
            "No image of the dataset",
        ),
        (
            {"method": "zsdb3", "purposes": {"noise": 500, "search": 900, "moves": 100}},
            ["500 for noise", "900 for search", "No image of the dataset"],
            "proposed",
        ),
    ],
)
def test_the_story_tells_what_was_asked_and_whether_real_images_were_used(
    samples: dict[str, Any], told: list[str], silent: str
) -> None:
    text = story(SampleFacts(digest="5a", asked=1500, **samples))
    assert all(part in text for part in told), text
    assert silent not in text


def test_real_samples_have_no_story() -> None:
    assert story(SampleFacts("real", "5a")) == ""


def test_decisions_that_are_hardly_foretold_are_warned_of() -> None:
    samples = SampleFacts("priors", "5a", foretold=0.31)
    assert "foretold 31" in story(samples)
    (warning,) = made_warning(samples.foretold, "priors", more="a higher samples.budget")
    assert "foretold only 31" in warning
    assert "samples=augmented" in warning
    assert "a higher samples.budget and a larger student" in warning
    assert "More real images help" in made_warning(0.31, "augmented", more="")[0]
    assert "(given as images), then more queries" in front_door_warning(0.31, "priors")[0]
    assert front_door_warning(0.6, "priors") == front_door_warning(None, "real") == []


def test_a_round_shows_the_last_images_of_each_class_asked_by_its_end() -> None:
    decisions = np.array([0, 0, 0, 0, 1, 1, 0])
    rounds = np.array([0, 0, 0, 0, 2, 2, 2])
    images = np.arange(7, dtype=np.uint8)[:, None, None, None] + np.ones((1, 1, 2, 2), np.uint8)
    shown = snapshots_by_round(images, decisions, rounds)
    assert shown.iterations == (0, 2)
    assert shown.queries == (4, 7)
    assert shown.decisions.tolist() == [0, 0, 0, 1, 1, 1]
    first, last = shown.images[:, :, 0, 0, 0].tolist()
    assert first == [2, 3, 4, 0, 0, 0]
    assert last == [3, 4, 7, 5, 6, 0]
