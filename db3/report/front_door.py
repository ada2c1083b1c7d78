"""The report of a run of `db3.distill`: one page that works offline."""

from db3.report import formatting as words
from db3.report.charts import both, coverage_chart
from db3.report.examples import ambiguous, typical
from db3.report.pages import page
from db3.report.provenance import parameters
from db3.report.run import FrontDoorRun
from db3.report.trust import bill_line
from db3.zero_shot.foretold import front_door_warning


def build_front_door_report(run: FrontDoorRun) -> str:
    """One HTML page that needs no network and no other file, a function of its argument alone."""
    curve, decimals = run.coverage, words.decimals_for(run.held_out)
    return page("front_door.html.j2").render(
        w=words,
        run=run,
        decimals=decimals,
        coverage_chart=both(lambda width: coverage_chart(curve, width)) if curve else None,
        bill_line=bill_line(curve, decimals) if curve else None,
        typical=typical(run),
        ambiguous=ambiguous(run),
        parameters=parameters(run.settings),
        warnings=front_door_warning(run.foretold, run.settings["samples"]["method"]),
    )
