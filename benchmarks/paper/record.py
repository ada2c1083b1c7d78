"""The record of a row: its numbers, read from the files of its run, and where they come from."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.paper.project import seconds
from benchmarks.paper.rows import Row
from db3.digest import digest_json
from db3.extras import installed_version
from db3.files import read_json
from flows.compose import PARAMS
from flows.engine.installed import code_digests
from flows.yaml_files import parse_yaml

Record = dict[str, Any]
_ROOT = Path(__file__).parents[2]
_MADE = ("priors", "zsdb3")  # samples of no real image


def identity(params: str) -> dict[str, str]:
    """What a record is of: digests of the parameters that decide results, and of the stages' code.

    Args:
        params: the text of params.yaml.
    """
    chosen = {name: group for name, group in parse_yaml(params, str(PARAMS)).items() if name != "runtime"}
    code = {stage: digest for stage, digest in code_digests().items() if stage != "report"}
    return {"parameters": digest_json(chosen), "code": digest_json(code)}


def read_record(row: Row, folder: Path, arguments: Sequence[str]) -> Record:
    """The numbers of a finished run; shares are 0 to 1.

    Args:
        row: whose.
        folder: its project.
        arguments: of `python -m benchmarks.paper`, which make it again.
    """
    data = folder / "data"
    metrics = read_json(data / "evaluation" / "metrics.json")
    transfer = read_json(data / "transfer" / "manifest.json")
    samples = read_json(data / "samples" / "manifest.json")
    variants = read_json(data / "student" / "variants.json")
    parameters = parse_yaml((folder / PARAMS).read_text(encoding="utf-8"), str(PARAMS))
    ours = {name: metrics["student"][name] for name in ("accuracy", "agreement")}
    queried = {"queried_images": ours} if transfer["recipe"].get("queried_images") else {}
    made = {"zero_shot": ours} if samples["method"] in _MADE else {}
    return {
        "row": row.name,
        "about": row.about,
        "published": asdict(row.published) if row.published else None,
        "teacher": {
            "architecture": parameters["teacher"]["architecture"],
            "accuracy": metrics["teacher"]["accuracy"],
            "parameters": metrics["teacher"]["parameters"],
        },
        "ours": {
            **ours,
            "architecture": parameters["distill"]["architecture"],
            "parameters": metrics["student"]["parameters"],
            "learns": next(entry["title"] for entry in variants if entry["name"] == "student"),
        },
        **metrics["baselines"],
        **queried,
        **made,
        "curve": metrics["curve"],
        "samples": {"count": samples["count"], "method": samples["method"]},
        "queries": _queries(metrics, data),
        "transfer": {"digest": transfer["digest"]},
        "seeds": metrics["seeds"],
        "seconds": _times(folder),
        "provenance": _provenance(folder, data, arguments),
    }


def _queries(metrics: Any, data: Path) -> dict[str, Any]:
    """Asked by algorithms, and sent in all: kills and repeats included, where the machine that ran it tells."""
    told = read_json(data / "queries.json") if (data / "queries.json").is_file() else {}
    counted = [told[stage]["sent_in_all"] for stage in ("samples", "query_decisions") if stage in told]
    return {
        "per_sample": metrics["queries"]["per_sample"],
        "asked": metrics["queries"]["asked"],
        "sent": sum(counted) if counted else None,
        "evaluation": metrics["queries"]["evaluation"],
    }


def _times(folder: Path) -> dict[str, Any]:
    stages = seconds(folder)
    return {
        "total": round(sum(float(stage["seconds"]) for stage in stages.values()), 1),
        "stages": {name: stage["seconds"] for name, stage in stages.items() if not stage["cached"]},
        "shared": [name for name, stage in stages.items() if stage["cached"]],
    }


def _provenance(folder: Path, data: Path, arguments: Sequence[str]) -> dict[str, Any]:
    environment = read_json(data / "environment.json") if (data / "environment.json").is_file() else {}
    latency = read_json(data / "latency.json") if (data / "latency.json").is_file() else {}
    return {
        "command": f"python -m benchmarks.paper {shlex.join(arguments)}",
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no", "--", "db3", "flows", "conf")),
        "version": installed_version(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "device": environment.get("distill", {}).get("device"),
        "machine": latency.get("machine"),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[2], 1),  # of the last quarter of an hour: what `seconds` are to be read by
        "environment": environment,
        "dataset": read_json(data / "teacher" / "teacher.json")["dataset"],
        "seeds": {name: group["seed"] for name, group in _groups(folder).items() if "seed" in group},
        **identity((folder / PARAMS).read_text(encoding="utf-8")),
    }


def _groups(folder: Path) -> dict[str, Any]:
    return dict(parse_yaml((folder / PARAMS).read_text(encoding="utf-8"), str(PARAMS)))


def _git(*arguments: str) -> str | None:
    """What git says of this checkout; None: it is none."""
    try:
        done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
