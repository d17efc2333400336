#!/bin/sh
# Run by the PostgreSQL image when it makes the cluster: two databases, three roles, each with what it needs.
#
#   sluice          owns the database sluice: migrations, the pipeline's tasks
#   sluice_service  the online service: reads the ledger and the scores, and nothing else
#   airflow         owns the database airflow: Airflow's own metadata
#
# Passwords are changed later with ALTER ROLE; this file runs once.
set -eu

# psql quotes the passwords; as arguments they would show in the list of processes, so it reads them itself.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv sluice_password SLUICE_DB_PASSWORD
\getenv service_password SLUICE_SERVICE_DB_PASSWORD
\getenv airflow_password SLUICE_AIRFLOW_DB_PASSWORD

CREATE ROLE sluice LOGIN PASSWORD :'sluice_password';
CREATE ROLE sluice_service LOGIN PASSWORD :'service_password';
CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE DATABASE sluice OWNER sluice ENCODING 'UTF8' TEMPLATE template0;
CREATE DATABASE airflow OWNER airflow ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE sluice, airflow FROM PUBLIC;
GRANT CONNECT ON DATABASE sluice TO sluice_service;

\connect sluice
SET ROLE sluice;
CREATE SCHEMA source;
CREATE SCHEMA scores;
CREATE SCHEMA sluice;
-- Migrations and new models make their tables later; the service may read those of two schemas from the start.
GRANT USAGE ON SCHEMA scores, sluice TO sluice_service;
ALTER DEFAULT PRIVILEGES FOR ROLE sluice IN SCHEMA scores, sluice GRANT SELECT ON TABLES TO sluice_service;
SQL
