"""Stage report: one self-contained page about the run."""

from pathlib import Path

from flows.config import Config
from flows.engine.stage import stage


@stage("report")
def report(config: Config, data: Path) -> str:
    """Write data/report/index.html."""
    from db3.report import build_report

    page = data / "report" / "index.html"
    build_report(data, page, config.model_dump(mode="json"))
    return f"open {page} in a browser"


if __name__ == "__main__":
    report.cli()
