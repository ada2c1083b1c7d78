"""Stage distill: train the student and every baseline, a shard for each variant and seed; export the student."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from db3.settings.declare import shared
from db3.settings.training import Schedule
from flows.config import Config
from flows.engine.shards import map_shards
from flows.engine.stage import stage

if TYPE_CHECKING:
    from torch import nn

    from db3.students.variants import Variant
    from db3.training.examples import Examples
    from db3.training.train import TrainSettings
    from flows.engine.store import Arrays

_CODE = ("students", "training", "networks", "rng")
_PARITY_SAMPLES = 256  # real samples on which the ONNX file is held against PyTorch


@stage("distill")
def distill(config: Config, data: Path) -> str:
    """Train every variant with every seed for the same number of steps; export variant `student` of the first seed."""
    from db3.training.processes import check_processes
    from db3.training.train import TrainSettings
    from flows.assistants import with_assistants
    from flows.config import device_of
    from flows.inputs import manifest_of
    from flows.variants import build_variants

    check_processes(config.runtime.processes, config.distill.batch, device_of(config))
    variants, seeds, learn = build_variants(config, data), range(config.evaluate.seeds), config.distill
    classes = len(manifest_of(data, "transfer")["class_names"])
    if learn.assistants.networks:  # the student's, at each point of its curve; a baseline has none
        variants = [
            with_assistants(config, variant, classes) if variant.name.startswith("student") else variant
            for variant in variants
        ]
    common = TrainSettings(**shared(Schedule, learn))
    jobs = [(variant, seed) for variant in variants for seed in seeds]
    shards = map_shards(
        "distill",
        [_key(config, variant, common, seed) for variant, seed in jobs],
        lambda index: _train(config, jobs[index][0], classes, common, jobs[index][1]),
        config.runtime,
        [learn.steps] * len(jobs),
        "step",
    )
    history = ["variant,seed,step,loss,lr"]
    for (variant, seed), arrays in zip(jobs, shards, strict=True):
        rows = arrays.pop("history")
        history += [f"{variant.name},{seed},{int(step)},{loss:.6f},{lr:.8f}" for step, loss, lr in rows]
        _save(config, data, variant, classes, seed, arrays)
    _write(config, data, variants, list(seeds), history)
    kept = f", {shards.reused} were already trained" if shards.reused else ""
    return f"{len(variants)} variants x {len(seeds)} seeds, {learn.steps:,} steps each{kept}"


def _key(config: Config, variant: "Variant", common: "TrainSettings", seed: int) -> str:
    """Digest of all that decides a student's weights."""
    from dataclasses import asdict

    from db3.digest import digest_array, digest_code, digest_json
    from flows.config import device_of

    def content(examples: "Examples") -> list[str | None]:
        soft = examples.soft_labels
        arrays = [digest_array(examples.images), digest_array(examples.decisions)]
        return [*arrays, None if soft is None else digest_array(soft)]

    groups = [
        [group.name, group.share, group.ce, group.kl, group.temperature, *content(group.examples)]
        for group in variant.groups
    ]
    return digest_json(
        [
            "student",
            config.distill.architecture,
            asdict(variant.settings(common)),
            seed,
            content(variant.examples),
            groups,
            device_of(config),
            config.runtime.threads,
            config.runtime.processes,
            digest_code(*_CODE),
        ]
    )


def _train(config: Config, variant: "Variant", classes: int, common: "TrainSettings", seed: int) -> "Arrays":
    import numpy as np

    from db3.training.processes import train_together
    from flows.config import device_of

    network = _new_student(config, variant, classes, seed)
    rows = train_together(
        network,
        variant.examples,
        variant.settings(common),
        seed,
        processes=config.runtime.processes,
        groups=variant.groups,
        device=device_of(config),
    )
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return {**weights, "history": np.array([[row.step, row.loss, row.lr] for row in rows])}


def _new_student(config: Config, variant: "Variant", classes: int, seed: int) -> "nn.Module":
    from db3.networks import build
    from db3.training.examples import channel_statistics

    images = variant.examples.images
    channels, height, width = images.shape[1:]
    mean, std = channel_statistics(images)
    return build(config.distill.architecture, (channels, height, width), classes, mean=mean, std=std, seed=seed)


def _save(config: Config, data: Path, variant: "Variant", classes: int, seed: int, weights: "Arrays") -> None:
    import torch

    from db3.networks import save_weights

    network = _new_student(config, variant, classes, seed)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    save_weights(network, data / "student" / _file(variant, seed), {"architecture": config.distill.architecture})


def _file(variant: "Variant", seed: int) -> str:
    return f"variants/{variant.name}/{seed}.safetensors"


def _write(config: Config, data: Path, variants: "list[Variant]", seeds: list[int], history: list[str]) -> None:
    """history.csv, variants.json, and the exported student with its card."""
    import shutil

    from db3.files import write_json, write_text
    from db3.networks import count_parameters, load_weights, multiply_adds
    from db3.students.model_card import model_card
    from flows.config import device_of
    from flows.environment import environment
    from flows.inputs import manifest_of

    folder, manifest = data / "student", manifest_of(data, "transfer")
    write_text(folder / "history.csv", "\n".join(history) + "\n")
    write_json(folder / "variants.json", [_describe(config, variant, seeds) for variant in variants])
    first = variants[0]
    shutil.copyfile(folder / _file(first, seeds[0]), folder / "student.safetensors")
    classes = len(manifest["class_names"])
    network = _new_student(config, first, classes, seeds[0])
    load_weights(network, folder / "student.safetensors")
    channels, height, width = first.examples.images.shape[1:]
    student = {
        "architecture": config.distill.architecture,
        "input_shape": [channels, height, width],
        "classes": classes,
        "class_names": manifest["class_names"],
        "parameters": count_parameters(network),
        "bytes": (folder / "student.safetensors").stat().st_size,
        "multiply_adds": multiply_adds(network, (channels, height, width)),
        "transfer": manifest["digest"],
        "teacher": manifest["teacher"],
        "onnx": _export(network.eval(), first, folder) if config.distill.onnx else None,
        "environment": {
            **environment(device_of(config), config.runtime.threads),
            "processes": config.runtime.processes,
        },
    }
    write_json(folder / "student.json", student)
    training = _training(config, manifest_of(data, "decisions"), manifest["mapping"])
    write_text(folder / "README.md", model_card(student, training))


def _describe(config: Config, variant: "Variant", seeds: list[int]) -> dict[str, Any]:
    return {
        "name": variant.name,
        "title": variant.title,
        "queries_per_sample": variant.queries_per_sample,
        "black_box": variant.black_box,
        "seeds": seeds,
        "steps": config.distill.steps,
        "files": [_file(variant, seed) for seed in seeds],
    }


def _export(network: "nn.Module", variant: "Variant", folder: Path) -> dict[str, Any]:
    from db3.files import write_bytes
    from db3.students.export import check_parity, export_onnx

    images = variant.examples.images
    channels, height, width = images.shape[1:]
    model = export_onnx(network, (channels, height, width))
    parity = check_parity(model, network, images[:_PARITY_SAMPLES])
    write_bytes(folder / "student.onnx", model)
    return {"max_difference": parity.max_difference, "checked": parity.checked}


def _training(config: Config, decided: dict[str, Any], mapping: str) -> dict[str, Any]:
    """What the model card tells of the training."""
    learn, search = config.distill, decided["method"]
    return {
        "samples": config.samples.method,
        "boundary search": search if search == "none" else f"{search}, {decided['budget']} queries per pair",
        "soft labels": mapping,
        "steps": learn.steps,
        "batch": learn.batch,
        "learning rate": learn.lr,
        "weight decay": learn.weight_decay,
        "loss weights": f"cross-entropy {learn.weights.ce:g}, KL {learn.weights.kl:g}",
        "selected": learn.select,
    }


if __name__ == "__main__":
    distill.cli()
