"""A gate: a threshold on the student's score, and what is promised of the images at or above it."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from db3.errors import DataError, one_line
from db3.evaluation.binomial import check_share

_SECTION = """\
## When to ask the teacher

Answer an image where the largest softmax probability (of the logits as they are) is **{threshold!r}** or more; ask the
teacher about the others. Of the images answered at least {agreement:.4g} are decided as the teacher would, with
confidence {confidence:g}, as long as images are like the {held_out:,} held-out ones that this was proven by. Of these,
{coverage:.1%} were answered, {agreed:.2%} of them as the teacher did. Logits divided by {temperature:.3g} give
calibrated probabilities; the threshold is not one of them.
"""


@dataclass(frozen=True)
class Gate:
    """The student answers an image itself when its score is `threshold` or more; the teacher is asked for the rest.

    Of the images answered, at least `agreement` are decided as the teacher would. That sentence is true with at least
    `confidence`: of a hundred gates chosen from as many sets of held-out images, `100 · (1 − confidence)` may break it.

    Attributes:
        threshold: of the score, the student's largest softmax probability as it is (temperature 1).
        agreement: the share promised of the images answered.
        confidence: of the promise.
        coverage: share of the held-out images that the student answers.
        agreed: share of these that it decides as the teacher did: what was seen, not what is promised.
        held_out: decided images that the gate was chosen from.
        temperature: by which the student's logits are divided to make its probabilities calibrated; the threshold
            does not depend on it (`db3.gate.calibration`).

    Raises:
        ConfigError: an agreement or a confidence that is no share.
    """

    threshold: float
    agreement: float
    confidence: float
    coverage: float
    agreed: float
    held_out: int
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_share("agreement", self.agreement)
        check_share("confidence", self.confidence)

    def answers(self, scores: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Which images the student answers itself; a score that is no number is none of them."""
        chosen: Bool[np.ndarray, " n"] = scores.astype(np.float64) >= self.threshold
        return chosen

    def to_json(self) -> str:
        """One line of JSON, which holds every field exactly."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Gate":
        """The gate that `to_json` wrote.

        Raises:
            DataError: the text is no gate; names what is wrong.
        """
        try:
            return cls(**_checked(json.loads(text)))
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError(
                f"a gate that cannot be read ({one_line(error)}); expected the JSON that Gate.to_json gives: write it "
                "anew"
            ) from error

    def to_markdown(self) -> str:
        """A section of a model card: the promise, what it takes for granted, and how to keep to it."""
        return _SECTION.format(**asdict(self))

    def __str__(self) -> str:
        return (
            f"answers {self.coverage:.1%} itself (score of {self.threshold:.6g} or more); at least "
            f"{self.agreement:.4g} of these as the teacher, with confidence {self.confidence:g}, from "
            f"{self.held_out:,} decided images"
        )


def _checked(fields: Any) -> dict[str, Any]:
    for name, value in dict(fields).items():
        whole = name == "held_out"
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not math.isfinite(value):
            raise ValueError(f"{name} is {value!r}; expected {'an integer' if whole else 'a number'}")
    return {name: value if name == "held_out" else float(value) for name, value in fields.items()}
