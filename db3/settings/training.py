"""How networks are trained."""

from typing import Annotated, Any, Literal

from db3.errors import ConfigError
from db3.settings.declare import Doc, Ge, Gt, Le, Lt, settings

Positive = Annotated[float, Gt(0)]
Share = Annotated[float, Ge(0), Lt(1)]
Portion = Annotated[float, Ge(0), Le(1)]
Arithmetic = Literal["exact", "float32", "bfloat16"]
"""exact: the same bytes on every machine (db3.arithmetic); float32: on the same kind of machine only; bfloat16: so too,
and a training multiplies numbers of 16 bits, for which some processors have units. What it made decides in float32."""
Steps = Annotated[
    Annotated[int, Ge(1)] | Literal["auto"],
    Doc("optimiser steps, the same for the student and every baseline; auto: by the number of decided images"),
]
AugmentationName = Literal["none", "warp", "crop_flip"]
VariantName = Literal["hard", "smoothing", "noise", "inverse", "margin", "augmented", "kd"]


@settings
class Pace:
    """How many steps, and how large."""

    steps: Annotated[int, Ge(1), Doc("optimiser steps, the same for the student and every baseline")] = 500
    batch: Annotated[int, Ge(1), Doc("images a step; more than there are examples is allowed")] = 128
    lr: Annotated[float, Gt(0), Doc("highest learning rate, after the warm-up")] = 0.002
    weight_decay: Annotated[float, Ge(0), Doc("times the learning rate and the weight")] = 0.0001


@settings
class Descent:
    """How the weights move: the optimiser, and its learning rate over the steps."""

    warmup: Annotated[int, Ge(0), Doc("steps of linear warm-up; half of the steps at most")] = 50
    schedule: Annotated[
        Literal["cosine", "linear", "stages"], Doc("of the learning rate after the warm-up; stages: see milestones")
    ] = "cosine"
    milestones: Annotated[
        tuple[Share, ...], Doc("stages: shares of the steps after which the learning rate is multiplied by decay")
    ] = (0.5, 0.75)
    decay: Annotated[float, Gt(0), Lt(1), Doc("stages: factor of the learning rate at each milestone")] = 0.1
    optimiser: Annotated[
        Literal["adamw", "sgd"], Doc("sgd: with Nesterov's momentum, weight decay times the learning rate; float32")
    ] = "adamw"
    momentum: Annotated[Share, Doc("sgd")] = 0.9
    shift_rate: Annotated[
        Positive, Doc("sgd: learning rate of batch normalisations' shifts, as a multiple of the others'")
    ] = 1.0
    lookahead: Annotated[
        int, Ge(0), Doc("float32: every so many steps the weights return towards their running mean; 0: never")
    ] = 0


@settings
class CropSettings:
    """Crops and mirror images (augment crop_flip)."""

    pixels: Annotated[
        Annotated[int, Ge(0)] | None, Doc("shifts in each direction at most; null: an eighth of the side")
    ] = None
    padding: Annotated[Literal["zeros", "reflection"], Doc("what enters at the border")] = "zeros"
    flip: Annotated[
        Literal["random", "alternating"], Doc("alternating: each image is mirrored in every other epoch")
    ] = "random"


@settings
class Changes:
    """How a training changes the images of a batch; nothing of it is asked of a teacher."""

    augment: Annotated[
        AugmentationName,
        Doc("changes of a batch's images, targets kept; warp: small affine maps; crop_flip: shifts and mirrors"),
    ] = "none"
    crop: CropSettings = CropSettings()
    mix: Annotated[
        Portion, Doc("share of the batches whose images are averaged in pairs, their targets likewise (mixup)")
    ] = 0.0


@settings
class OwnChanges:
    """How networks that only help, teacher assistants and surrogates, change the images that they learn."""

    augment: Annotated[
        AugmentationName | Literal["auto"],
        Doc("changes of the images; auto: of colour images crop_flip, reflected at the border, of others none"),
    ] = "auto"
    mix: Annotated[
        Portion | Literal["auto"],
        Doc("share of the batches that are mixed; auto: 1 of colour images (assistants: seen 20 times), else 0"),
    ] = "auto"


@settings
class Schedule(Changes, Descent, Pace):
    """The course of a training."""

    balance: Annotated[Portion, Doc("samples are drawn as (count of their class)^-balance: 1: all classes alike")] = 0.0
    select: Annotated[
        Literal["last", "best"], Doc("weights of the last step, or the best by agreement on a held-out part")
    ] = "last"
    holdout: Annotated[float, Gt(0), Lt(1), Doc("select best: share of the transfer set kept aside")] = 0.1
    arithmetic: Annotated[
        Arithmetic,
        Doc("exact: same bytes on every machine; float32, bfloat16: on this kind of machine only, but faster"),
    ] = "exact"

    def rules(self) -> None:
        require_float32(self)


def require_float32(values: Any) -> None:
    """Refuse what exact arithmetic cannot do; `values` has the fields of `Descent` and an `arithmetic`.

    Raises:
        ConfigError: one line.
    """
    if values.arithmetic != "exact":
        return
    for name, known in (("optimiser", "adamw"), ("lookahead", 0)):
        if getattr(values, name) != known:
            raise ConfigError(
                f"{name} is {getattr(values, name)}, which has no exact form: set arithmetic to float32, or {name} to "
                f"{known}"
            )


@settings
class LossWeights:
    """What a loss is made of."""

    ce: Annotated[float, Ge(0), Doc("of the cross-entropy with the decision")] = 0.0
    kl: Annotated[float, Ge(0), Doc("of KL(soft label || student)")] = 1.0

    def rules(self) -> None:
        if self.ce + self.kl <= 0:
            raise ConfigError("ce and kl are both 0, so nothing would be learnt: give one a positive weight")


@settings
class AssistantSettings:
    """Teacher assistants: larger networks that learn the same decisions and label images nobody was asked about."""

    networks: Annotated[int, Ge(0), Le(16), Doc("averaged; 0: no teacher assistants")] = 0
    architecture: Annotated[
        str, Doc("a name that db3.networks.build knows; auto: by the images' shape and how many are decided")
    ] = "auto"
    steps: Annotated[int, Ge(1), Doc("optimiser steps of each; all else but their changes is the student's")] = 2000
    images: Annotated[int, Ge(1), Doc("that they label: prior images, and variations of the decided ones")] = 100_000
    fresh: Annotated[Portion, Doc("share of these that are prior images")] = 0.3333
    share: Annotated[Share, Doc("of each of the student's batches")] = 0.75
    temperature: Annotated[Positive, Doc("of teacher assistants and student in the divergence")] = 1.0
    changes: OwnChanges = OwnChanges()


@settings
class VariantSettings:
    """Which students a run compares, and what each learns from."""

    baselines: Annotated[tuple[VariantName, ...], Doc("students of the same run that learn from something else")] = (
        "hard",
        "smoothing",
        "noise",
        "inverse",
        "margin",
        "augmented",
        "kd",
    )
    temperature: Annotated[Positive | Literal["auto"], Doc("student's inside the KL; auto: the recipe's")] = "auto"
    weights: LossWeights = LossWeights()
    smoothing: Annotated[
        Share, Doc("student: mass of its bare decisions spread over all classes; 0.1 helps where a teacher is noisy")
    ] = 0.0
    label_smoothing: Annotated[float, Gt(0), Lt(1), Doc("baseline smoothing: mass spread over all classes")] = 0.1
    noise: Annotated[Positive, Doc("baseline noise: standard deviation of the random logits")] = 1.0
    kd_temperature: Annotated[Positive, Doc("baseline kd: temperature of teacher and student")] = 8.0
    curve: Annotated[bool, Doc("also distil from the distances at query.checkpoints")] = True

    def rules(self) -> None:
        twice = [name for place, name in enumerate(self.baselines) if name in self.baselines[:place]]
        if twice:
            raise ConfigError(f"baselines: {twice[0]} stands there twice; expected each once: leave one out")


@settings
class DistillSettings(VariantSettings, Schedule):
    """How the student and the baselines learn from the transfer set."""

    steps: Steps = 500  # type: ignore[assignment]
    architecture: Annotated[
        str, Doc("of student and baselines, a name that db3.networks.build knows; auto: by the images and classes")
    ] = "lenet5_half"
    initial_weights: Annotated[
        str | None, Doc("a .safetensors file that student and baselines begin with; null: weights drawn by their seeds")
    ] = None
    assistants: AssistantSettings = AssistantSettings()
    folds: Annotated[
        int,
        Ge(0),
        Le(20),
        Doc("to choose the student among the variants on samples held out (db3.students.choose); 0: no"),
    ] = 3
    onnx: Annotated[bool, Doc("export the student to ONNX too")] = True
    int8: Annotated[bool, Doc("and as an ONNX file of int8, student.int8.onnx, measured by itself")] = False

    def rules(self) -> None:
        VariantSettings.rules(self)
        Schedule.rules(self)
        if self.folds == 1:
            raise ConfigError("folds is 1, so nothing would be left to learn from; expected 2 or more, or 0: no choice")
        if self.int8 and not self.onnx:
            raise ConfigError("int8 is true, but the file that it is made of is not: set distill.onnx to true")
        if self.architecture.startswith("timm/") and self.arithmetic == "exact":
            raise ConfigError(
                f"arithmetic is exact, but layers of timm such as those of {self.architecture} have no exact twins: "
                "set distill.arithmetic to float32"
            )
