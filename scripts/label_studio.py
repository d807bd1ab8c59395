"""Starts a Label Studio server for this machine, in an environment of its own: `make label-studio`.

It keeps its database and what one needs to sign in under `<home>/label-studio`, listens on loopback only, sends nothing
to its makers, and may read below `<home>`; a project is shown the normalised photos alone.
"""

import argparse
import os
import secrets
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVER = ROOT / ".tools" / "label-studio" / "bin" / "label-studio"
USER = "annotator@localhost.localdomain"


def settings_of(home: Path, port: int) -> dict[str, str]:
    """What the project needs to reach the server; made at the first call, and kept in `settings.sh`.

    Args:
        home: The deployment's MLOPS_HOME.
        port: Where the server listens.
    """
    folder = home / "label-studio"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = folder / "token"
    if not kept.exists():
        with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(secrets.token_hex(20))
    settings = {
        "MLOPS_LABEL_STUDIO_URL": f"http://127.0.0.1:{port}",
        "MLOPS_LABEL_STUDIO_TOKEN": kept.read_text(),
    }
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in settings.items()]
    with os.fdopen(os.open(folder / "settings.sh", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.writelines(lines)
    return settings


def server_environment(home: Path, token: str) -> dict[str, str]:
    """Label Studio's own settings; secrets in the environment, since everybody sees a command line."""
    return {
        "LABEL_STUDIO_BASE_DATA_DIR": str(home / "label-studio"),
        "LABEL_STUDIO_USERNAME": USER,
        "LABEL_STUDIO_PASSWORD": token,
        "LABEL_STUDIO_USER_TOKEN": token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(home),
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }


def command(home: Path, port: int) -> list[str]:
    """What starts the server."""
    data = str(home / "label-studio")
    return [
        str(SERVER),
        "start",
        *("--no-browser", "--data-dir", data, "--internal-host", "127.0.0.1", "--port", str(port)),
        *("--log-level", "WARNING"),
    ]


def main() -> None:
    """Become the server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the deployment's MLOPS_HOME")
    parser.add_argument("--port", type=int, default=8080)
    given = parser.parse_args()
    home = given.home.resolve()
    token = settings_of(home, given.port)["MLOPS_LABEL_STUDIO_TOKEN"]
    folder = home / "label-studio"
    print(f"Label Studio: http://127.0.0.1:{given.port} in about half a minute")
    print(f"Sign in as {USER}; the password is in {folder / 'token'}")
    print("Now start `make ui` in another terminal, or start it again: it knows this server", flush=True)
    os.execve(SERVER, command(home, given.port), {**os.environ, **server_environment(home, token)})  # noqa: S606


if __name__ == "__main__":
    main()
