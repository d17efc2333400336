"""``sluice grant`` and ``sluice revoke``: the right to read tables in another schema than ``source``."""

from __future__ import annotations

import sys
from argparse import Namespace

from sqlalchemy import make_url

from include.models import DeclaredModels
from include.resources import Resources
from include.warehouse.grants import grant_schema


def grant(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Let the roles that read the source read every table of a schema."""
    granted = grant_schema(resources.database_url, arguments.schema, _logins(resources))
    sys.stdout.write(
        f"{_listed(granted.roles)} may read every table of schema {arguments.schema}, also those that are made later.\n"
    )
    for owner in granted.other_owners:
        sys.stdout.write(f"Except tables that {owner} makes later: run `sluice grant {arguments.schema}` again then.\n")
    return 0


def revoke(arguments: Namespace, _models: DeclaredModels, resources: Resources) -> int:
    """Take back what `grant` has granted."""
    revoked = grant_schema(resources.database_url, arguments.schema, _logins(resources), revoke=True)
    sys.stdout.write(f"The rights of {_listed(revoked.roles)} to read schema {arguments.schema} are revoked.\n")
    return 0


def _logins(resources: Resources) -> list[str]:
    """Return the login of retraining, which need not be a member of a role of Sluice."""
    url = resources.settings.trainer_database_url
    user = make_url(url).username if url else None
    return [user] if user else []


def _listed(roles: tuple[str, ...]) -> str:
    return " and ".join(roles)
