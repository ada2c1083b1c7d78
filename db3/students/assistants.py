"""Teacher assistants: networks that learn the paid decisions and label images that nobody was asked about.

A student of few weights learns more from a soft label than from a decision, and from many images than from few.
Teacher assistants are larger networks, several of them, trained on the same decisions: their averaged opinion of any
number of fresh images costs no query. They know no more of the teacher than its decisions say; what they add is what
larger networks make of them (Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015; Bucila,
Caruana and Niculescu-Mizil, "Model Compression", KDD 2006).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import nn

from db3.arithmetic import log_softmax, softmax
from db3.images.parents import draw_parents
from db3.images.priors import prior_images
from db3.images.variations import variations
from db3.networks.fitting import assistant_architecture
from db3.rng import Purpose, derived_seed
from db3.settings.training import Arithmetic, AssistantSettings
from db3.students.teacher_logits import teacher_logits
from db3.students.variants import Variant
from db3.training.changes import changes_of
from db3.training.examples import Examples, Group, network_for
from db3.training.processes import processes_of, train_together
from db3.training.train import TrainSettings
from db3.work import Arrays, Run, Work, run_here

_CODE = ("students", "training", "images", "networks", "rng", "arithmetic")

_UNASKED = 1 << 31  # numbers of images from here on are never asked


def assisted(
    images: UInt8[np.ndarray, "n c h w"],
    decisions: Int64[np.ndarray, " n"],
    classes: int,
    settings: AssistantSettings,
    training: TrainSettings,
    seed: int,
    on_step: Callable[[], object] | None = None,
    processes: int = 1,
) -> Examples:
    """Images never asked, with teacher assistants' soft labels; `beside` puts them beside the decided ones.

    Args:
        images: decided.
        decisions: the teacher's on them.
        classes: K.
        settings: how.
        training: of each teacher assistant, but for what its settings say.
        seed: of the teacher assistants and the images.
        on_step: called after each step of each teacher assistant.
        processes: that train each teacher assistant together, see `train_together`.
    """
    examples = Examples(images, decisions)
    changes = changes_of(settings.changes, images.shape[1], settings.steps * training.batch / len(examples))
    training = replace(training, steps=settings.steps, **vars(changes))
    networks = [
        _assistant(examples, classes, settings.architecture, training, seed, number, on_step, processes)
        for number in range(settings.networks)
    ]
    unasked = unasked_images(images, decisions, settings.images, settings.fresh, seed)
    labels = opinion(networks, unasked, settings.temperature, training.arithmetic)
    return Examples(unasked, labels.argmax(axis=1).astype(np.int64), labels)


def label_by_assistants(
    variant: Variant,
    classes: int,
    settings: AssistantSettings,
    training: TrainSettings,
    seed: int,
    run: Run = run_here,
    *,
    processes: int = 1,
) -> Variant:
    """The variant with images that nobody was asked about, labelled by teacher assistants; they cost no query.

    Teacher assistants learn every decided image of the variant: the samples, and the images that a search asked. They
    are trained once, for all seeds of the students.

    Args:
        variant: of a student.
        classes: K.
        settings: how.
        training: of each teacher assistant, but for what its settings say.
        seed: of the teacher assistants and the images.
        run: who trains them, see `db3.work`.
        processes: that train each teacher assistant together, see `train_together`.
    """
    decided = [variant.examples, *(group.examples for group in variant.groups if group.name == "queried_images")]
    images = np.concatenate([part.images for part in decided])
    decisions = np.concatenate([part.decisions for part in decided])

    def compute(_: int) -> Arrays:
        told = assisted(images, decisions, classes, settings, training, seed, processes=processes)
        return {"images": told.images, "decisions": told.decisions, "soft_labels": np.asarray(told.soft_labels)}

    def decided_by(_: int) -> list[object]:
        return [images, decisions, classes, seed, settings, training, *processes_of(training, processes)]

    steps = [settings.networks * settings.steps]
    bound = training.arithmetic != "exact"
    (found,) = run(Work("assistants", compute, decided_by, steps, _CODE, machine_bound=bound))
    told = Examples(found["images"], found["decisions"], found["soft_labels"])
    title = f"{variant.title}, and what teacher assistants make of them"
    return replace(variant, title=title, groups=beside(variant.groups, told, settings))


def beside(groups: Sequence[Group], unasked: Examples, settings: AssistantSettings) -> tuple[Group, ...]:
    """The groups of a batch with what teacher assistants labelled, which gets its share; the others divide the rest as
    before.
    """
    less = 1 - settings.share
    own = Group("unasked", unasked, settings.share, 0.0, 1.0, settings.temperature)
    return (*(replace(group, share=group.share * less) for group in groups), own)


def unasked_images(
    images: UInt8[np.ndarray, "n c h w"], decisions: Int64[np.ndarray, " n"], count: int, fresh: float, seed: int
) -> UInt8[np.ndarray, "m c h w"]:
    """Prior images and variations of the decided ones, of numbers that the rounds do not reach."""
    channels, height, width = images.shape[1:]
    priors = round(count * fresh)
    numbers = np.arange(_UNASKED, _UNASKED + count - priors)
    children = variations(images, draw_parents(decisions, numbers, seed), numbers, seed)
    return np.concatenate([prior_images((channels, height, width), range(_UNASKED, _UNASKED + priors), seed), children])


def opinion(
    networks: Sequence[nn.Module],
    images: UInt8[np.ndarray, "n c h w"],
    temperature: float,
    arithmetic: Arithmetic = "float32",
) -> Float32[np.ndarray, "n k"]:
    """Softmax of the mean logits / temperature; each network's logits are first centred over the classes.

    Only the networks' own logits are float32 where `arithmetic` is: all after them is exact.
    """
    mean: torch.Tensor | None = None
    for network in networks:
        logits = torch.from_numpy(teacher_logits(network, images, arithmetic=arithmetic)).double()
        logits = log_softmax(logits) / len(networks)
        mean = logits if mean is None else mean + logits
    if mean is None:
        raise ValueError("there is no network; expected one or more")
    labels: Float32[np.ndarray, "n k"] = softmax(mean / temperature).float().numpy()
    return labels


def _assistant(
    examples: Examples,
    classes: int,
    architecture: str,
    training: TrainSettings,
    seed: int,
    number: int,
    on_step: Callable[[], object] | None,
    processes: int,
) -> nn.Module:
    own = derived_seed(seed, Purpose.ASSISTANT, number)
    channels, height, width = examples.images.shape[1:]
    name = assistant_architecture(
        architecture, (channels, height, width), len(examples), exact=training.arithmetic == "exact"
    )
    network = network_for(name, examples.images, classes, own)
    train_together(network, examples, training, own, processes=processes, on_step=on_step)
    return network
