"""Roles that nobody logs in with; whoever is to have their rights is made a member.

They belong to the server, not to the database, so they may be there already (from another database, or made
beforehand by an administrator: then the migration needs no right to make roles).
"""

from __future__ import annotations


def make_roles(*names: str) -> str:
    """Return the SQL that makes the roles that are not there, and says so where that is not allowed.

    What is then granted must ask whether the role exists.
    """
    listed = ", ".join(f"'{name}'" for name in names)
    return f"""
DO $$
DECLARE
    wanted text;
    may_create boolean;
BEGIN
    SELECT rolsuper OR rolcreaterole INTO may_create FROM pg_roles WHERE rolname = current_user;
    FOREACH wanted IN ARRAY ARRAY[{listed}] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            CONTINUE;
        ELSIF NOT may_create THEN
            RAISE NOTICE 'role % may not create roles: % was not made. An administrator can make it '
                '(CREATE ROLE % NOLOGIN) and grant as docs/reference/database.md says.', current_user, wanted, wanted;
            CONTINUE;
        END IF;
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- another database of this server is migrated at the same time
        END;
    END LOOP;
END $$;
"""  # noqa: S608  # of names in the migrations
