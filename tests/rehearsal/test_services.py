"""Services of the rehearsal: real processes that are waited for, tell why they failed, and leave nothing behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg2
import pytest

from rehearsal.environment import answers, basics
from rehearsal.object_store import running_object_store
from rehearsal.postgresql import running_postgresql
from rehearsal.processes import Command, ServiceError, end_left_over, free_port, running, session_members

SLEEP_AND_CHILD = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']);"
    "print('up', flush=True); time.sleep(300)"
)


def python(code: str, tmp_path: Path, **more: object) -> Command:
    log = tmp_path / "service.log"
    defaults = {"healthy": lambda: "up" in log.read_text(), "timeout": 20.0}
    return Command("service", [sys.executable, "-c", code], basics(), folder=tmp_path, **{**defaults, **more})


def alive_in_session(leader: int) -> list[int]:
    return [process.pid for process in session_members(leader)]


def test_a_service_ends_with_all_that_it_started(tmp_path: Path) -> None:
    with running(python(SLEEP_AND_CHILD, tmp_path), tmp_path) as service:
        leader = service.process.pid
        assert len(alive_in_session(leader)) == 2
        service.raise_if_ended()
    assert alive_in_session(leader) == []
    assert list(tmp_path.glob("*.pid")) == []


def test_a_service_that_ends_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(
            ServiceError, match=r"service ended with 3.*service\.log ends with:\n    no such database"
        ) as told,
        running(python("print('no such database'); raise SystemExit(3)", tmp_path), tmp_path),
    ):
        pass
    assert str(tmp_path / "service.log") in str(told.value)


def test_a_service_that_is_not_healthy_in_time_is_ended(tmp_path: Path) -> None:
    command = python("import time; print('loading', flush=True); time.sleep(300)", tmp_path, timeout=2.0)
    with pytest.raises(ServiceError, match=r"not become healthy within 2 s[\s\S]*loading"), running(command, tmp_path):
        pass
    assert list(tmp_path.glob("*.pid")) == []


def test_a_service_that_ends_later_is_noticed(tmp_path: Path) -> None:
    code = "import time; print('up', flush=True); time.sleep(1); raise SystemExit('the disk is full')"
    with running(python(code, tmp_path), tmp_path) as service:
        service.process.wait(30)
        with pytest.raises(ServiceError, match="the disk is full"):
            service.raise_if_ended()


def test_what_a_killed_rehearsal_left_is_ended(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path.cwd())!r})
from rehearsal.environment import basics
from rehearsal.processes import Command, running
folder = Path({str(tmp_path)!r})
log = folder / "service.log"
arguments = [sys.executable, "-c", {SLEEP_AND_CHILD!r}]
command = Command("service", arguments, basics(), lambda: "up" in log.read_text(), folder=folder)
with running(command, folder) as service:
    print(service.process.pid, flush=True)
    time.sleep(300)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as rehearsal:
        assert rehearsal.stdout is not None
        leader = int(rehearsal.stdout.readline())
        rehearsal.kill()
    assert alive_in_session(leader)
    assert end_left_over(tmp_path) == ["service"]
    assert alive_in_session(leader) == []
    assert end_left_over(tmp_path) == []


def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True) as other:
        (tmp_path / "service.pid").write_text(f'{{"pid": {other.pid}, "started": {time.time() - 1000}}}')
        assert end_left_over(tmp_path) == []
        assert other.poll() is None
        other.kill()


def test_postgresql_has_databases_of_their_own_behind_passwords(tmp_path: Path) -> None:
    with running_postgresql(tmp_path, ["dagster", "mlflow"]) as server:
        dagster, mlflow = server.databases["dagster"], server.databases["mlflow"]
        assert dagster.rows("SELECT current_user::text, current_database()::text") == [("dagster", "dagster")]
        dagster_port = dagster.port
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            psycopg2.connect(
                host="127.0.0.1", port=mlflow.port, user="mlflow", password=dagster.password, dbname="mlflow"
            )
        pid = server.service.process.pid
        assert psutil.Process(pid).uids().real != 0
    assert not psutil.pid_exists(pid)
    with pytest.raises(psycopg2.OperationalError, match="refused"):
        psycopg2.connect(host="127.0.0.1", port=dagster_port, user="dagster", dbname="dagster")


def test_the_object_store_keeps_what_is_put(tmp_path: Path) -> None:
    with running_object_store(tmp_path, ["landing", "store"]) as store:
        store.client().put_object(Bucket="store", Key="photos/ab/1.jpg", Body=b"jpeg")
        store.client().put_object(Bucket="store", Key="tables/1.parquet", Body=b"table")
        assert store.keys("store", "photos/") == ["photos/ab/1.jpg"]
        assert store.keys("landing") == []
        endpoint = store.environment["AWS_ENDPOINT_URL"]
        assert answers(f"{endpoint}/moto-api/")()
    with pytest.raises(OSError, match="refused"):
        answers(f"{endpoint}/moto-api/")()


def test_processes_get_nothing_of_the_callers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLOPS_STORE", "AWS_PROFILE", "DAGSTER_HOME", "KUBECONFIG"):
        monkeypatch.setenv(name, "the caller's")
    given = basics({"AWS_ACCESS_KEY_ID": "ours"})
    assert "the caller's" not in given.values()
    assert given["AWS_ACCESS_KEY_ID"] == "ours"
    assert given["PATH"].startswith(str(Path(sys.executable).parent))


def test_ports_are_free() -> None:
    assert len({free_port() for _ in range(5)}) > 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    code = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path.cwd())!r})
import rehearsal.__main__ as command
from rehearsal.object_store import running_object_store
def tell(out, *arguments):
    with running_object_store(out / "services", ["landing"]) as store:
        print(store.service.process.pid, flush=True)
        time.sleep(300)
command.tell = tell
sys.argv = ["rehearsal", "--out", {str(tmp_path)!r}]
sys.exit(command.main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        leader = int(run.stdout.readline())
        run.send_signal(number)
        run.send_signal(number)  # an impatient second one must not break the clearing off
        _, errors = run.communicate(timeout=60)
        assert run.returncode == 128 + number, errors
    assert "nothing of it is left running" in errors
    assert alive_in_session(leader) == []
