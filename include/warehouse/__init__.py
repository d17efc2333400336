"""PostgreSQL: connections, reading rows, migrations, sample tables and the embedded server."""

from include.warehouse.embedded import embedded_server, embedded_url, start_embedded, stop_embedded
from include.warehouse.engine import limited, migrate, open_engine, under_role, url_of

__all__ = [
    "embedded_server",
    "embedded_url",
    "limited",
    "migrate",
    "open_engine",
    "start_embedded",
    "stop_embedded",
    "under_role",
    "url_of",
]
