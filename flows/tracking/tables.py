"""A table in Prefect's UI that is brought up to date in its place; Prefect's own functions do so for progress alone."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from prefect.artifacts import TableArtifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate


class Table:
    """One artifact of the flow run that shows it first.

    Args:
        key: of the artifact: lowercase letters, digits and dashes.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._artifact: UUID | None = None

    def show(self, rows: Sequence[dict[str, Any]], description: str) -> None:
        """Show these rows, in place of those before."""
        if self._artifact is None:
            self._artifact = create_table_artifact(list(rows), self._key, description)
            return
        data = TableArtifact(table=list(rows)).format()
        get_client(sync_client=True).update_artifact(self._artifact, ArtifactUpdate(data=data, description=description))
