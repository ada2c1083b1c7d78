"""`db3 distill`, `db3 estimate` and `db3 results`: the front door from a shell."""

import argparse
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from db3.api.distill import distill
from db3.api.plan import plan_distillation
from db3.api.teacher import ModelTeacher, teacher
from db3.datasets.load_images import LoadedImages, load_images
from db3.errors import ConfigError, DataError, Db3Error
from db3.files import read_json
from db3.networks import choose_student

_DISTILL = """
Train a student on the decisions of MODEL about IMAGES or, without them, about images that db3 makes. What is finished
lies in FOLDER: after Ctrl-C, a kill or with other settings the same command goes on, and no image is sent twice.
"""
_EXAMPLES = """examples:
  db3 distill vendor.onnx photos/ --shape 3 48 192 --classes 2 --queries 10000 --folder run
  db3 distill mymodule:classify train-images-idx3-ubyte --shape 1 28 28 --classes 10 --queries 20000 --folder run
  VENDOR_TOKEN=… db3 distill https://host/classify photos/ --shape 3 64 64 --labels cat,dog --queries 5000 \\
      --folder run --teacher http.answer=label --teacher http.token=VENDOR_TOKEN --teacher quantise=uint8
  db3 distill vendor.onnx --shape 1 28 28 --classes 10 --queries 25000 --folder run        (no images at all)
"""


def distill_main(arguments: Sequence[str]) -> int:
    """`db3 distill`; the exit status."""
    parser = _parser("distill", _DISTILL)
    parser.add_argument("--folder", required=True, help="for answers, finished work, transfer set and student")
    parser.add_argument("--limit", type=int, help="images sent at most, failed attempts too (default: a tenth more)")
    parser.add_argument(
        "--gate", type=float, metavar="SHARE", help="promise this agreement, as 0.99, of what it answers"
    )
    parser.add_argument(
        "--sink",
        action="append",
        default=[],
        metavar="KIND[:PLACE]",
        help="mlflow, tensorboard or dvclive: told of the run",
    )
    options = parser.parse_args(arguments)

    def work() -> str:
        found = distill(
            _teacher(options),
            _images(options),
            queries=options.queries,
            folder=options.folder,
            student=options.student,
            held_out=options.held_out,
            seed=options.seed,
            settings=dict(map(_pair, options.set)),
            limit=options.limit,
            device=options.device,
            sinks=options.sink,
        )
        done = f"{found}\nthe student is in {found.folder / 'student'}"
        if options.gate is None:
            return done
        sys.stdout.write(f"{done}\n")  # it is there, whether or not so much can be promised
        gate = found.gate(options.gate)
        found.student.save(found.folder / "student", gate)
        return str(gate)

    return told("distill", work)


def estimate_main(arguments: Sequence[str]) -> int:
    """`db3 estimate`; the exit status."""
    parser = _parser("estimate", "Say how `db3 distill` with the same arguments would spend its queries; ask nothing.")
    parser.add_argument("--price", type=float, help="of 1,000 images")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)

    def work() -> str:
        images, asked = _images(options), _teacher(options)
        plan = plan_distillation(
            asked.spec,
            None if images is None else len(images.images),
            options.queries,
            student=options.student,
            held_out=options.held_out,
            seed=options.seed,
            settings=dict(map(_pair, options.set)),
        )
        chosen = plan.settings
        lines = [
            f"held out   {plan.held_out:>10,}  to measure agreement by",
            f"samples    {plan.samples:>10,}  {chosen.samples.method}",
            f"searches   {plan.searches:>10,}  {chosen.query.method}",
            f"in all     {plan.queries:>10,}  images asked",
            f"student    {_student(options.student, asked)}",
        ]
        cost = "unknown: give --price" if options.price is None else f"{plan.queries * options.price / 1000:,.2f}"
        return "\n".join([*lines, f"cost       {cost}"])

    return told("estimate", work)


def _student(name: str, asked: ModelTeacher) -> str:
    if name != "auto":
        return name
    choice = choose_student(asked.spec.input_shape, asked.spec.classes, asked.parameters)
    return f"{choice.architecture}, {choice.parameters:,} parameters: {choice.why}"


def results_main(arguments: Sequence[str]) -> int:
    """`db3 results`; the exit status."""
    parser = argparse.ArgumentParser(prog="db3 results", description="List what runs have brought, side by side.")
    parser.add_argument("folders", nargs="*", default=["."], help="folders of runs, or folders that hold some")
    options = parser.parse_args(arguments)

    def work() -> str:
        found = [path for folder in options.folders for path in _results(Path(folder))]
        if not found:
            raise DataError(f"there is no result.json in {', '.join(options.folders)}: name folders of db3 distill")
        head = f"{'agreement':>9} {'held out':>9} {'asked':>9} {'sent':>9} {'parameters':>11}  {'student':<16} run"
        return "\n".join([head, *map(_row, found)])

    return told("results", work)


def _results(folder: Path) -> list[Path]:
    own = folder / "result.json"
    return [own] if own.is_file() else sorted(folder.glob("*/result.json"))


def _row(path: Path) -> str:
    told = read_json(path)
    try:
        agreement = "–" if told["agreement"] is None else f"{told['agreement']:.2%}"
        queries, student = told["queries"], told["student"]
        numbers = (told["held_out"], queries["asked"], queries["sent"])
        counts = " ".join(f"{number:>9,}" for number in numbers)
        size, name = student["parameters"], student["architecture"]
        return f"{agreement:>9} {counts} {size:>11,}  {name:<16} {path.parent}"
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{path} was not written by db3 distill: move it away") from None


def _parser(name: str, about: str) -> argparse.ArgumentParser:
    """What distill and estimate take alike."""
    parser = argparse.ArgumentParser(
        prog=f"db3 {name}",
        description=about,
        epilog=_EXAMPLES if name == "distill" else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="an .onnx or .pt2 file, http(s)://…, package.module:function")
    add(
        "images",
        metavar="IMAGES",
        nargs="?",
        help="a folder of pictures, an .npy, .npz or IDX file",
    )
    add("--shape", type=int, nargs=3, metavar=("C", "H", "W"), help="of one image; not needed for a teacher's folder")
    add("--classes", type=int, help="how many the model has")
    add("--labels", type=lambda text: text.split(","), help="the model's names of the classes: a,b,c")
    add("--queries", type=int, required=True, help="images asked at most, those held out included")
    add("--student", default="auto", help="architecture; auto: by shape and classes")
    add("--held-out", type=int, help="images asked to measure agreement by (default: a fifth, 1,000 at most)")
    add("--fit", choices=("crop", "pad", "stretch"), default="crop", help="how an image becomes H x W")
    add("--seed", type=int, default=0, help="of draws, made images and the student")
    add("--device", default="cpu", help="where networks compute")
    add("--name", help="what the answers are kept under; give another when the model behind has changed")
    add("--teacher", action="append", default=[], metavar="NAME=VALUE", help="mean, std, layout, http.token, votes, …")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter, as query.method=mbd")
    return parser


def _teacher(options: argparse.Namespace) -> ModelTeacher:
    described: dict[str, Any] = {}
    for name, value in map(_pair, options.teacher):
        *groups, last = name.split(".")
        place = described
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    shape = None if options.shape is None else tuple(options.shape)
    sys.path.insert(0, str(Path.cwd()))  # for package.module:function, as `python -m` does
    return teacher(
        options.model,
        shape=shape,
        classes=options.classes,
        labels=options.labels,
        name=options.name,
        device=options.device,
        **described,
    )


def _images(options: argparse.Namespace) -> LoadedImages | None:
    channels, size = (None, None) if options.shape is None else (options.shape[0], tuple(options.shape[1:]))
    return load_images(options.images, size=size, channels=channels, fit=options.fit) if options.images else None


def _pair(text: str) -> tuple[str, Any]:
    """NAME=VALUE; the value as JSON, or the text that it is."""
    name, mark, value = text.partition("=")
    if not mark:
        raise ConfigError(f"{text!r} has no value; expected NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def told(name: str, work: Callable[[], str]) -> int:
    """Do the work and print what it tells; an error is one line on stderr."""
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    try:
        sys.stdout.write(f"{work()}\n")
    except Db3Error as error:
        sys.stderr.write(f"db3 {name}: {' '.join(str(error).split())}\n")
        if os.environ.get("DB3_TRACEBACK") == "1":
            traceback.print_exc()
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what is finished is kept, run again to continue\n")
        return 130
    return 0
