"""A Jupyter server of a test's own: its folder, settings, trust and kernels are new and go when it goes.

Here JupyterLab; in `classic.py` Notebook 6.5, of Colab's age.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.error import URLError
from urllib.request import Request, urlopen

S = TypeVar("S", bound="Server")
TOKEN = "browser-tests"
READY_SECONDS = 90
STOP_SECONDS = 10
SETTINGS: dict[str, dict[str, Any]] = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/notebook-extension:tracker": {
        "windowingMode": "none",
        "kernelShutdown": True,
        "scrollPastEnd": False,
    },
}


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        url: where it answers, with a slash at the end.
        folder: what it serves.
    """

    url: str
    folder: Path
    themes: ClassVar[tuple[str, ...]] = ("light",)

    @property
    def port(self) -> str:
        """Where it listens."""
        return self.url.rstrip("/").rpartition(":")[2]

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str = "GET") -> Any:
        """A request to the server's API; its answer read as JSON, None when it is empty."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        with urlopen(Request(self.url + path, data, headers, method=method), timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def theme(self, dark: bool) -> None:
        """The theme of every page opened from now on, where there is more than one."""

    def end_kernels(self) -> None:
        """Shut down every notebook's kernel."""
        for session in self.ask("api/sessions"):
            self.ask(f"api/sessions/{session['id']}", method="DELETE")

    def is_trusted(self, name: str) -> bool:
        """Whether any code cell of a notebook would be opened as trusted."""
        cells = self.ask(f"api/contents/{name}")["content"]["cells"]
        return any(cell["metadata"].get("trusted") for cell in cells if cell["cell_type"] == "code")


@dataclass(frozen=True)
class Lab(Server):
    """A running JupyterLab."""

    themes: ClassVar[tuple[str, ...]] = ("light", "dark")

    def settings(self, plugin: str, values: dict[str, Any]) -> None:
        """What a user would write in the settings editor."""
        self.ask(f"lab/api/settings/{plugin}", {"raw": json.dumps(values)}, "PUT")

    def theme(self, dark: bool) -> None:
        """The theme of every page opened from now on."""
        name = "JupyterLab Dark" if dark else "JupyterLab Light"
        self.settings("@jupyterlab/apputils-extension:themes", {"theme": name, "adaptive-theme": False})


@contextmanager
def serve(home: Path) -> Iterator[Lab]:
    """A JupyterLab that keeps all it writes under `home`; stopped, with its kernels, at the block's end."""
    with running(Lab, home, _command) as lab:
        for plugin, values in SETTINGS.items():
            lab.settings(plugin, values)
        yield lab


@contextmanager
def running(kind: type[S], home: Path, command: Callable[[S], list[str]]) -> Iterator[S]:
    """A server that keeps all it writes under `home`; stopped, with its kernels, at the block's end.

    Args:
        kind: of server.
        home: its own folder; what it serves is one inside.
        command: gives what starts it.
    """
    folder, log = home / "notebooks", home / "server.log"
    folder.mkdir(parents=True)
    server = kind(f"http://127.0.0.1:{_free_port()}/", folder)
    with log.open("wb") as file:
        process = subprocess.Popen(command(server), env=_environment(home), stdout=file, stderr=subprocess.STDOUT)
        try:
            _wait(server, process, log)
            yield server
        finally:
            _stop(server, process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _command(lab: Lab) -> list[str]:
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": lab.port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": lab.folder,
        "IdentityProvider.token": TOKEN,
        "ServerApp.allow_root": True,
        "LabApp.expose_app_in_browser": True,
        "LabApp.extension_manager": "readonly",
        "LabApp.check_for_updates_class": "jupyterlab.handlers.announcements.NeverCheckForUpdate",
        "LabApp.news_url": None,
    }
    given = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "jupyterlab", "--no-browser", *given]


def _environment(home: Path) -> dict[str, str]:
    """This process's environment, with every place that Jupyter or IPython writes to moved under `home`."""
    places = "JUPYTER_CONFIG_DIR JUPYTER_DATA_DIR JUPYTER_RUNTIME_DIR IPYTHONDIR".split()
    places += ["JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "JPY_"))}
    return {**kept, "HF_HUB_OFFLINE": "1", **{name: str(home / name.lower()) for name in places}}


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    """Ask until it answers."""
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            server.ask("api/status")
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"{type(server).__name__} does not answer:\n{log.read_text(errors='replace')[-4000:]}")


def _stop(server: Server, process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, which ends its kernels too; kill it where it does not."""
    try:
        server.ask("api/shutdown", {}, "POST")
        process.wait(STOP_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        process.kill()
        process.wait()
