"""The Data Docs in the Airflow UI: ``/sluice/data_docs/<model>/<run>``, for users who are logged in."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from fastapi.responses import PlainTextResponse, Response

from include.settings import load_settings
from include.validation.data_docs import read_page, run_pages
from sluice_airflow.responses import page_response


def run_docs(model: str, run: str) -> Response:
    """Return the page of a run, or a list if it has several; 404 when it has none on this host."""
    pages = run_pages(load_settings().docs_dir, model, run)
    if not pages:
        return _missing(model, run)
    if len(pages) == 1:
        return page_docs(model, run, pages[0])
    # Relative to .../<run>, which has no slash at its end.
    items = "".join(f'<li><a href="{quote(run, safe="")}/{each}">{escape(each)}</a></li>' for each in pages)
    return page_response(f"<!doctype html><title>Data Docs</title><ul>{items}</ul>")


def page_docs(model: str, run: str, page: str) -> Response:
    """Return one page of a run; 404 when it is not on this host."""
    content = read_page(load_settings().docs_dir, model, run, page)
    return _missing(model, run) if content is None else page_response(content)


def _missing(model: str, run: str) -> Response:
    message = (
        f"run '{run}' of model '{model}' has no such page of Data Docs here. They are in SLUICE_HOME of the host that "
        "ran the task validate; sluice.validation_result has the same results.\n"
    )
    return PlainTextResponse(message, status_code=404)
