"""Teacher assistants of the student: trained once for all seeds, on the very decisions that the student learns from."""

from typing import TYPE_CHECKING

from flows.config import Config
from flows.engine.shards import map_shards

if TYPE_CHECKING:
    from db3.students.variants import Variant
    from flows.engine.store import Arrays

_CODE = ("students", "training", "images", "networks", "rng", "arithmetic")


def with_assistants(config: Config, variant: "Variant", classes: int) -> "Variant":
    """The variant with images that nobody was asked about, labelled by teacher assistants; they cost no query.

    Teacher assistants learn every decided image of the variant: the samples, and the images that a search asked.
    """
    from dataclasses import asdict, replace

    import numpy as np

    from db3.digest import digest_array, digest_code, digest_json
    from db3.students.assistants import assisted, beside
    from db3.training.examples import Examples
    from db3.training.train import TrainSettings
    from flows.config import device_of

    decided = [variant.examples, *(group.examples for group in variant.groups if group.name == "queried_images")]
    images = np.concatenate([part.images for part in decided])
    decisions = np.concatenate([part.decisions for part in decided])
    learn, seed = config.distill, config.samples.seed
    settings = learn.assistants
    training = TrainSettings(learn.steps, learn.batch, learn.lr, learn.weight_decay, learn.warmup, learn.balance)
    processes = config.runtime.processes

    def compute(_: int) -> "Arrays":
        told = assisted(images, decisions, classes, settings, training, seed, processes=processes)
        return {"images": told.images, "decisions": told.decisions, "soft_labels": np.asarray(told.soft_labels)}

    machine = [device_of(config), config.runtime.threads, processes]
    content = [digest_array(images), digest_array(decisions), classes, seed, asdict(settings), asdict(training)]
    key = digest_json(["assistants", *content, *machine, digest_code(*_CODE)])
    steps = settings.networks * settings.steps
    (found,) = map_shards("assistants", [key], compute, config.runtime, [steps], "step")
    told = Examples(found["images"], found["decisions"], found["soft_labels"])
    title = f"{variant.title}, and what teacher assistants make of them"
    return replace(variant, title=title, groups=beside(variant.groups, told, settings))
