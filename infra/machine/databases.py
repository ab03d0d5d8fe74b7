"""PostgreSQL: its data folder, a database and an owner for each of MLflow's and Prefect's, and who may log in."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .home import LOOPBACK, Home, ServersError

DATABASES = {"mlflow": "mlflow", "mlflow_auth": "mlflow", "prefect": "prefect"}  # each with its owner
OWNERS = {"mlflow": "MLFLOW_DATABASE_PASSWORD", "prefect": "PREFECT_DATABASE_PASSWORD"}  # each with its secret
SUPERUSER = "postgres"
PROGRAMS = Path("/usr/lib/postgresql")  # where Debian has them, below the major version's number
# A statement that fails goes into the server's log, and it may hold a password.
DISCREET = "-c log_min_error_statement=panic -c log_statement=none"


def program(name: str) -> str:
    """PostgreSQL's `name`: that of CONVOY_POSTGRES_BIN, the newest of Debian's, or the one on the PATH."""
    named = os.environ.get("CONVOY_POSTGRES_BIN")
    debian = sorted(PROGRAMS.glob("*/bin"), key=lambda path: int(path.parent.name))[::-1]
    for folder in [Path(named)] if named else debian:
        if (folder / name).is_file():
            return str(folder / name)
    found = None if named else shutil.which(name)
    if found is None:
        raise ServersError(
            f"expected PostgreSQL's {name} in {named or f'{PROGRAMS}/*/bin or on the PATH'}, found none; install "
            "Debian's `postgresql`, or set CONVOY_POSTGRES_BIN"
        )
    return found


def account() -> str | None:
    """Who PostgreSQL runs as: it refuses root, so then Debian's `postgres` (or CONVOY_POSTGRES_USER)."""
    if os.geteuid() != 0:
        return None
    name = os.environ.get("CONVOY_POSTGRES_USER", "postgres")
    try:
        pwd.getpwnam(name)
    except KeyError as error:
        raise ServersError(f"PostgreSQL does not run as root, and there is no user {name!r}; make one") from error
    return name


def prepare(home: Home) -> None:
    """Make the data folder where there is none, and set the superuser's password. The server must not run."""
    user = account()
    if not (home.postgres / "PG_VERSION").is_file():
        shutil.rmtree(home.postgres, ignore_errors=True)  # an initdb that was cut short
        home.postgres.mkdir(mode=0o700)
        if user:
            shutil.chown(home.postgres, user, user)
        options = ["--username", SUPERUSER, "--auth", "reject", "--encoding", "UTF8", "--locale", "C.UTF-8"]
        _run(home, [program("initdb"), "--pgdata", str(home.postgres), *options, "--data-checksums"])
        (home.postgres / "pg_hba.conf").write_text(f"host all all {LOOPBACK}/32 scram-sha-256\n", encoding="utf-8")
    # At every start: so a new secret counts, and the old one need not be known.
    command = [program("postgres"), "--single", "-D", str(home.postgres), *DISCREET.split(), "postgres"]
    _run(home, command, f"ALTER ROLE {SUPERUSER} PASSWORD '{home.secrets['POSTGRES_PASSWORD']}';\n")


def command(home: Home) -> list[str]:
    options = {
        "listen_addresses": LOOPBACK,
        "port": home.ports["postgres"],
        "unix_socket_directories": "",
        "max_connections": 200,  # MLflow's pools of both databases in two processes, and Prefect's
    }
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return [program("postgres"), "-D", str(home.postgres), *settings]


def answers(home: Home) -> bool:
    """Whether PostgreSQL takes connections."""
    where = ["--host", LOOPBACK, "--port", str(home.ports["postgres"]), "--timeout", "3"]
    return subprocess.run([program("pg_isready"), "--quiet", *where], check=False).returncode == 0


@contextmanager
def connection(home: Home, database: str = "postgres") -> Iterator[Any]:
    """As superuser; each statement counts at once."""
    import psycopg2

    try:
        opened = psycopg2.connect(
            host=LOOPBACK,
            port=home.ports["postgres"],
            user=SUPERUSER,
            password=home.secrets["POSTGRES_PASSWORD"],
            dbname=database,
            options=DISCREET,
        )
    except psycopg2.OperationalError as error:
        raise ServersError(f"PostgreSQL on port {home.ports['postgres']}: {str(error).strip()}") from error
    opened.autocommit = True
    try:
        yield opened
    finally:
        opened.close()


def make(home: Home) -> None:
    """Owners with their passwords as they are now, and their databases, which nobody else may enter."""
    from psycopg2 import sql

    with connection(home) as opened, opened.cursor() as ask:
        for owner, secret in OWNERS.items():
            ask.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (owner,))
            verb = "ALTER" if ask.fetchone() else "CREATE"
            role = sql.SQL("{} ROLE {} LOGIN PASSWORD %s").format(sql.SQL(verb), sql.Identifier(owner))
            ask.execute(role, (home.secrets[secret],))
        for database, owner in DATABASES.items():
            ask.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
            if ask.fetchone():
                continue
            names = {"name": sql.Identifier(database), "owner": sql.Identifier(owner)}
            ask.execute(sql.SQL("CREATE DATABASE {name} OWNER {owner}").format(**names))
            ask.execute(sql.SQL("REVOKE CONNECT ON DATABASE {name} FROM PUBLIC").format(**names))


def remove(home: Home) -> None:
    """Drop the databases with everything in them; `make` makes them again."""
    from psycopg2 import sql

    with connection(home) as opened, opened.cursor() as ask:
        for database in DATABASES:
            ask.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))


def filled(home: Home) -> list[str]:
    """The databases that have a row in any of their tables."""
    found = []
    for database in DATABASES:
        with connection(home, database) as opened, opened.cursor() as ask:
            ask.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            if ask.fetchone()[0]:
                found.append(database)
    return found


def url(home: Home, database: str, driver: str) -> str:
    """A database's address without its password, which goes by PGPASSWORD."""
    return f"postgresql+{driver}://{DATABASES[database]}@{LOOPBACK}:{home.ports['postgres']}/{database}"


def password(home: Home, database: str) -> dict[str, str]:
    """PostgreSQL's own variable: in an address it would have to be escaped, and would show in process lists."""
    return {"PGPASSWORD": home.secrets[OWNERS[DATABASES[database]]]}


def _run(home: Home, command: list[str], said: str = "") -> None:
    """One of PostgreSQL's programs as the user it runs as; `said` is its standard input, which `ps` does not show."""
    user = account()
    done = subprocess.run(
        command,
        input=said,
        capture_output=True,
        text=True,
        cwd="/",
        user=user,
        group=user,
        extra_groups=[] if user else None,
        check=False,
    )
    with home.log("postgres").open("a", encoding="utf-8") as log:
        log.write(done.stdout + done.stderr)
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()[-3:]
        hint = f"; {user} must be able to pass through every folder above {home.postgres} (--home)" if user else ""
        raise ServersError(
            "\n".join([f"{Path(command[0]).name} failed{hint}; its log is {home.log('postgres')}:", *words])
        )
