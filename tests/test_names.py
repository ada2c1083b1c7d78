"""A misspelt name is refused where it is given, and the nearest name that exists is told: nothing falls through.

In a process of its own, as users run it: the tests' own checks of types refuse such names too.
"""

import subprocess
import sys

import pytest

# Use, the name as misspelt, and the name that is meant.
MISSPELT = [
    ("SearchSettings('{}')", "mdb", "mbd"),
    ("soft_labels('{}', np.array([[0.0, 1.0]]), np.array([0]))", "margn", "margin"),
    ("Recipe('{}', 2.0, 1.0, 0, 0, 0)", "invers", "inverse"),
    ("SoftLabelSettings(mapping='{}')", "haard", "hard"),
    ("VariantSettings(baselines=('hard', '{}'))", "smothing", "smoothing"),
    ("TrainSettings(steps=1, select='{}')", "bets", "best"),
    ("augmentation('{}', 0)", "crop_flips", "crop_flip"),
    ("build('{}', (1, 28, 28), 10)", "lenet_5", "lenet5"),
    ("open_dataset('{}')", "mnits", "mnist"),
    ("check_starts(None, '{}')", "alow", "allow"),
]
PROGRAM = """
import sys
import numpy as np
from db3.datasets import open_dataset
from db3.errors import ConfigError
from db3.networks import build
from db3.search import SearchSettings
from db3.soft_labels import Recipe, SoftLabelSettings, soft_labels
from db3.students import VariantSettings
from db3.training.augmentation import augmentation
from db3.training.train import TrainSettings
from db3.zero_shot.start_images import check_starts

for use in sys.argv[1:]:
    try:
        eval(use)
        print("accepted")
    except ConfigError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def told() -> list[str]:
    uses = [use.format(name) for use, name, _ in MISSPELT]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *uses], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("number", range(len(MISSPELT)), ids=[name for _, name, _ in MISSPELT])
def test_a_misspelt_name_is_refused_and_the_nearest_told(told: list[str], number: int) -> None:
    assert len(told) == len(MISSPELT)
    _, name, meant = MISSPELT[number]
    assert f"'{name}'" in told[number]
    assert f"did you mean {meant}?" in told[number]
