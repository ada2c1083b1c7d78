"""The report: one self-contained HTML page that tells a run, its worth and its origin."""

from db3.extras import needs

with needs("report", "the report"):
    from db3.report.build import build_report

__all__ = ["build_report"]
