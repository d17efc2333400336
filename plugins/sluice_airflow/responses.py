"""What every page of Sluice in the Airflow UI is sent with."""

from __future__ import annotations

from fastapi.responses import HTMLResponse

# As the Content-Security-Policy of the pages themselves, and they may be framed only by Airflow's pages.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-cache",
}


def page_response(content: str | bytes) -> HTMLResponse:
    """Return a page that loads nothing from elsewhere."""
    return HTMLResponse(content, headers=_HEADERS)
