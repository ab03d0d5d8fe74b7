#!/bin/sh
# Run once by PostgreSQL's image on an empty volume: a database and an owner each for MLflow and Prefect, so that
# neither can read the other's. Passwords arrive through the environment and are quoted by psql.
set -eu
for name in mlflow prefect; do
    case "$name" in
        mlflow) secret="$MLFLOW_DATABASE_PASSWORD" ;;
        prefect) secret="$PREFECT_DATABASE_PASSWORD" ;;
    esac
    psql --set ON_ERROR_STOP=1 --set name="$name" --set secret="$secret" \
        --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'secret';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done
