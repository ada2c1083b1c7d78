"""The Prefect server that a run reports to."""

import os

from db3.errors import Db3Error


class ServerError(Db3Error):
    """The Prefect server that the user asked for does not answer."""


def require_server() -> None:
    """Check that the server of PREFECT_API_URL answers: whoever asked for tracking never gets a silent plain run.

    Raises:
        ServerError: one line with the address and the reason.
    """
    from prefect import get_client

    url = os.environ["PREFECT_API_URL"]
    try:
        with get_client(sync_client=True) as client:
            problem = client.api_healthcheck()
    except Exception as error:  # whatever a wrong address makes of the client
        problem = error
    if problem is not None:
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise ServerError(
            f"PREFECT_API_URL is {url}, but no Prefect server answers there ({reason}); "
            "start one with `python -m flows.ui`, correct the address, or unset it to run without tracking"
        )
