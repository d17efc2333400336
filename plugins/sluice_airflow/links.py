"""Buttons on a task in the Airflow UI."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperatorLink

from include.records import ModelVersion
from include.settings import load_settings


class DataDocsLink(BaseOperatorLink):
    """Opens the results of the contract's checks.

    Parameters
    ----------
    model : str
    """

    name = "Data Docs"

    def __init__(self, model: str) -> None:
        self._model = model

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002  # Airflow's signature
        """Return the address of the pages of the task's run, see `CardLink.get_link`."""
        return load_settings().data_docs_url(self._model, ti_key.run_id)


class CardLink(BaseOperatorLink):
    """Opens the card of the version that the task registered."""

    name = "Model card"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the card's address, empty when the task registered nothing.

        Parameters
        ----------
        operator : BaseOperator
            The task, which returns a `ModelVersion`.
        ti_key : RuntimeTaskInstance
            The task's run. Airflow 3.3 passes more than the key that the name suggests.
        """
        registered = ti_key.xcom_pull(task_ids=operator.task_id)
        if not registered:
            return ""
        version = ModelVersion.from_plain(registered)
        return load_settings().card_url(version.model, version.version)
