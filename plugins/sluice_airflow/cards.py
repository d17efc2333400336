"""Sluice's pages in the Airflow UI, for users who are logged in: the model cards, and the Data Docs."""

from __future__ import annotations

from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI
from fastapi.responses import PlainTextResponse, Response

from include.errors import ArtifactError, ArtifactStoreError, UnknownVersionError
from include.evidence import champion_status, with_status
from include.registry import CARD, active_hold
from include.resources import open_resources
from sluice_airflow import data_docs
from sluice_airflow.responses import page_response


def make_app() -> FastAPI:
    """Return the application that Airflow mounts at ``/sluice``; it uses Airflow's login."""
    app = FastAPI(title="Sluice", docs_url=None, redoc_url=None, openapi_url=None)
    app.get("/cards/{model}/{version}", dependencies=[Depends(get_user)])(card)
    app.get("/data_docs/{model}/{run}", dependencies=[Depends(get_user)])(data_docs.run_docs)
    app.get("/data_docs/{model}/{run}/{page}", dependencies=[Depends(get_user)])(data_docs.page_docs)
    return app


def card(model: str, version: int) -> Response:
    """Return a version's card after verifying its artifact.

    404 when there is none, 409 when it was changed, 503 when the object store does not answer.
    """
    try:
        with open_resources() as resources:
            registered = resources.ledger.version(model, version)
            artifact = resources.artifacts.open(model, version, registered.artifact_digest)
            if CARD not in artifact.digests:
                message = f"the artifact of version {version} of '{model}' has no model card.\n"
                return PlainTextResponse(message, status_code=404)
            hold = active_hold(resources.engine, model)
            status = champion_status(version, resources.ledger.promotions(model), hold)
            return page_response(with_status(artifact.read(CARD), status))
    except UnknownVersionError as error:
        return PlainTextResponse(f"{error}\n", status_code=404)
    except ArtifactError as error:
        return PlainTextResponse(f"{error}\n", status_code=409)
    except ArtifactStoreError as error:
        return PlainTextResponse(f"{error}\n", status_code=503)
