#!/bin/sh
# The PostgreSQL image runs this file once, when it creates the cluster: two databases, and five logins with their
# rights.
#
#   sluice             owns the database sluice: migrations, the pipeline's tasks
#   sluice_retraining  the tasks of retraining: cannot promote a version that lacks a required approval
#   sluice_approving   stores approvals and rejections, and nothing else
#   sluice_service     the online service: reads the ledger and the scores, writes jobs, and nothing else
#   airflow            owns the database airflow: Airflow's own metadata
#
# To change a password later, use ALTER ROLE.
set -eu

# psql reads the passwords from the environment and quotes them. As arguments they would be visible in the process list.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv sluice_password SLUICE_DB_PASSWORD
\getenv service_password SLUICE_SERVICE_DB_PASSWORD
\getenv trainer_password SLUICE_TRAINER_DB_PASSWORD
\getenv approver_password SLUICE_APPROVER_DB_PASSWORD
\getenv airflow_password SLUICE_AIRFLOW_DB_PASSWORD

CREATE ROLE sluice LOGIN PASSWORD :'sluice_password';
CREATE ROLE sluice_service LOGIN PASSWORD :'service_password';
CREATE ROLE sluice_retraining LOGIN PASSWORD :'trainer_password';
CREATE ROLE sluice_approving LOGIN PASSWORD :'approver_password';
CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
-- The migrations grant the rights of these roles, but run as sluice, which may not make roles. So they are made here.
-- sluice_operator and sluice_analyst are for the logins of people.
CREATE ROLE sluice_reader NOLOGIN;
CREATE ROLE sluice_worker NOLOGIN;
CREATE ROLE sluice_trainer NOLOGIN;
CREATE ROLE sluice_approver NOLOGIN;
CREATE ROLE sluice_operator NOLOGIN;
CREATE ROLE sluice_analyst NOLOGIN;
GRANT sluice_reader, sluice_worker TO sluice_service;
GRANT sluice_trainer TO sluice_retraining;
GRANT sluice_approver TO sluice_approving;
CREATE DATABASE sluice OWNER sluice ENCODING 'UTF8' TEMPLATE template0;
CREATE DATABASE airflow OWNER airflow ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE sluice, airflow FROM PUBLIC;
GRANT CONNECT ON DATABASE sluice TO sluice_service, sluice_retraining, sluice_approving, sluice_operator, sluice_analyst;

\connect sluice
SET ROLE sluice;
CREATE SCHEMA source;
CREATE SCHEMA scores;
CREATE SCHEMA sluice;
SQL
