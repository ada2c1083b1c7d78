"""`db3 report RUN`: one page about a run of `db3.distill`, written beside its files."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from db3.api.command import told
from db3.errors import DataError, one_line
from db3.files import read_array, read_json, write_text
from db3.gate.curve import CoveragePoint
from db3.report.front_door import build_front_door_report
from db3.report.run import FrontDoorRun


def read_front_door_run(folder: Path) -> FrontDoorRun:
    """What lies in the folder of a run.

    Raises:
        DataError: a file is missing, damaged or of another run.
    """
    path = folder / "result.json"
    for file in (path, folder / "student" / "student.json"):
        if not file.is_file():
            raise DataError(
                f"{folder} holds no {file.relative_to(folder)}; expected the folder of a finished `db3 distill`"
            )
    result, card = read_json(path), read_json(folder / "student" / "student.json")
    arrays = [read_array(folder / "transfer" / f"{name}.npy") for name in ("images", "decisions", "soft_labels")]
    try:
        if card["transfer"] != result["transfer"] or len({len(array) for array in arrays}) != 1:
            raise DataError(f"{folder / 'student'} and {path} are of two runs: run `db3 distill` again")
        student, teacher = result["student"], result["teacher"]
        return FrontDoorRun(
            name=folder.resolve().name,
            architecture=student["architecture"],
            names=card["class_names"],
            sizes=(teacher["parameters"], student["parameters"]),
            agreement=result["agreement"],
            held_out=result["held_out"],
            made=result["made"],
            measured=card["measured"],
            coverage=[CoveragePoint(**point) for point in result["coverage"]],
            asked=result["queries"]["asked"],
            sent=result["queries"]["sent"],
            tokens=(result["queries"]["input_tokens"], result["queries"]["output_tokens"]),
            missing=result["missing_classes"],
            skipped=result["skipped"],
            foretold=result["foretold"],
            digests=[
                ("Teacher", teacher["identity"]),
                ("Transfer set", result["transfer"]),
                ("Student", card["digest"]),
            ],
            settings=result["settings"],
            images=arrays[0],
            decisions=arrays[1],
            soft_labels=arrays[2],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} was not written by this version of db3 distill ({one_line(error)}): run it again, which sends "
            "nothing that is known"
        ) from None


def write_front_door_report(folder: str | Path) -> Path:
    """Write report.html into the folder of a run; its place."""
    out = Path(folder) / "report.html"
    write_text(out, build_front_door_report(read_front_door_run(Path(folder))))
    return out


def report_main(arguments: Sequence[str]) -> int:
    """`db3 report`; the exit status."""
    parser = argparse.ArgumentParser(prog="db3 report", description="Write one page about a run of `db3 distill`.")
    parser.add_argument("run", metavar="RUN", help="folder of the run; report.html is written there")
    options = parser.parse_args(arguments)
    return told("report", lambda: f"open {write_front_door_report(options.run)} in a browser")
