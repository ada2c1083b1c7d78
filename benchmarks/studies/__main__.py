"""Run one study: print its table, write it as JSON with every student's row, and draw its picture.

    python -m benchmarks.studies calibration --root DIR --json FILE --plot FILE.png

The JSON is written after every student. A picture needs the extra `bench`. `--redraw` draws from a JSON that is there.
"""

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from benchmarks.picture import picture
from benchmarks.studies import calibration, compression, label_noise, margins, pairs, transfer_images
from benchmarks.studies.shared import Row, Setting, Study, table
from benchmarks.writable import require_writable
from db3.errors import DataError, Db3Error
from db3.extras import needs
from db3.files import read_json, write_json

STUDIES: dict[str, Study] = {
    "compression": compression.STUDY,
    "label_noise": label_noise.STUDY,
    "transfer_images": transfer_images.STUDY,
    "pairs": pairs.STUDY,
    "calibration": calibration.STUDY,
    "margins": margins.STUDY,
}
_PER_CENT = frozenset({"accuracy", "agreement", "ece", "ece_scaled", "teacher_accuracy"})


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _options(arguments)
    study = STUDIES[options.study]
    torch.set_num_threads(1)
    try:
        if options.plot:  # known before minutes of training, not after
            with needs("bench", "--plot"):
                import matplotlib.figure  # noqa: F401, PLC0415 - no need of it without a picture
        require_writable(options.plot)
        require_writable(None if options.redraw else options.json)
        result = _read(options.json, options.study) if options.redraw else _run(study, options, arguments)
    except Db3Error as error:
        raise SystemExit(f"error: {error}") from None
    print(_text(study, result["table"]))
    if options.plot:
        _draw(study, result["table"], options.plot)


def _read(path: Path, study: str) -> dict[str, Any]:
    result: dict[str, Any] = read_json(path)
    if not isinstance(result, dict) or result.get("study") != study or "table" not in result:
        raise DataError(f"{path} holds no result of the study {study}; expected the --json of such a run")
    return result


def _run(study: Study, options: argparse.Namespace, arguments: Sequence[str]) -> dict[str, Any]:
    setting = Setting(**{field.name: getattr(options, field.name) for field in fields(Setting)})
    result: dict[str, Any] = {
        "study": options.study,
        "question": study.question,
        "command": shlex.join(["python", "-m", "benchmarks.studies", *arguments]),
        "commit": _commit(),
        "setting": {name: str(value) if isinstance(value, Path) else value for name, value in vars(setting).items()},
        "seeds": list(range(setting.seeds)),
    }
    rows, begun = list[Row](), time.process_time()
    for row in study.run(setting):
        rows.append(row)
        print("#", ", ".join(f"{name} {_short(value)}" for name, value in row.items()), flush=True)
        result |= {"cpu_seconds": round(time.process_time() - begun, 1), "rows": rows, "table": table(study, rows)}
        write_json(options.json, result)
    return result


def _commit() -> str | None:
    """Of the working tree; with `-dirty` where a tracked file has changed; None outside of a clone."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    here = Path(__file__).parent
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _text(study: Study, rows: Sequence[Row]) -> str:
    """The table as Markdown; shares in per cent."""
    names = [*study.by, *study.measures]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [str(row[name]) for name in study.by] + [
            _cell(name, row[name], row["seeds"]) for name in study.measures
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(name: str, value: dict[str, float], seeds: int) -> str:
    scale, digits = (100, 1) if name in _PER_CENT else (1, 3)
    spread = f" ± {scale * value['sd']:.{digits}f}" if seeds > 1 else ""
    return f"{scale * value['mean']:.{digits}f}{spread}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _draw(study: Study, rows: list[Row], path: Path) -> None:
    with picture(path, (7.2, 4.0), dpi=110) as figure:
        study.draw(figure, rows)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.studies", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("study", choices=sorted(STUDIES))
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--plot", type=Path, help="a picture, as .png or .svg")
    parser.add_argument("--redraw", action="store_true", help="run nothing: print and draw what the JSON holds")
    kinds = {"root": Path, "teachers": Path, "dataset": str, "kinds": str}
    for field in fields(Setting):
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(name, type=kinds.get(field.name, int), default=field.default)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
