"""Stage report: one self-contained page about the run."""

from pathlib import Path

from db3.settings.declare import to_json
from flows.config import Config
from flows.engine.stage import stage


@stage("report")
def report(config: Config, data: Path) -> str:
    """Write data/report/index.html."""
    from db3.report import build_report

    page = data / "report" / "index.html"
    build_report(data, page, to_json(config))
    return f"open {page} in a browser"


if __name__ == "__main__":
    report.cli()
