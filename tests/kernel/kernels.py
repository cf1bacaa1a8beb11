"""A real kernel for a test: run a cell, read what a user would see, complete, inspect, interrupt."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from jupyter_client.manager import KernelManager

PATIENCE = 300


@dataclass
class Seen:
    """What a cell left: its outputs, displays by id in their last state, its error, and what it put in the pager."""

    status: str = ""
    text: str = ""
    stream: str = ""
    html: list[str] = field(default_factory=list)
    displays: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: list[str] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)

    @property
    def everything(self) -> str:
        """All of it as text."""
        shown = [d.get("text/plain", "") for d in self.displays.values()]
        return "\n".join([self.stream, *shown, self.text, *self.error])


class Kernel:
    """A kernel of this very Python that starts in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.manager = KernelManager(kernel_name="python3")
        spec = self.manager.kernel_spec
        assert spec is not None
        spec.argv[0] = sys.executable
        self.folder = folder

    def __enter__(self) -> "Kernel":
        self.manager.start_kernel(cwd=str(self.folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def run(self, code: str, when: str = "", then: Callable[[], None] | None = None) -> Seen:
        """Run a cell to its end; when an output first matches the pattern `when`, call `then`.

        A cell that fails aborts what is queued behind it, for a moment longer than until its reply arrives: the next
        cell of a test would now and then be aborted too, so none of them asks for that.
        """
        sent = self.client.execute(code, store_history=True, stop_on_error=False)
        seen = Seen()
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != sent:
                continue
            kind, content = message["msg_type"], message["content"]
            seen.messages.append(message)
            said = self._take(seen, kind, content)
            if then is not None and said and re.search(when, said):
                then()
                then = None
            if kind == "status" and content["execution_state"] == "idle":
                break
        assert then is None, f"nothing matched {when!r} in:\n{seen.everything}"
        reply = self._reply(sent)
        seen.status = reply["status"]
        seen.pages = [page["data"]["text/plain"] for page in reply.get("payload", ()) if page["source"] == "page"]
        return seen

    def complete(self, code: str) -> list[str]:
        """What a front end would offer with the cursor at the end of `code`: all of it, completed."""
        reply = self._reply(self.client.complete(code))
        return [code[: reply["cursor_start"]] + match for match in reply["matches"]]

    def inspect(self, code: str, cursor: int | None = None) -> str:
        """What a front end would show of the name at the cursor; empty when nothing is known of it."""
        reply = self._reply(self.client.inspect(code, cursor))
        return str(reply["data"].get("text/plain", ""))

    def info(self) -> dict[str, Any]:
        """What the kernel says of itself."""
        return self._reply(self.client.kernel_info())

    def subshell(self) -> str:
        """A new subshell, as a front end makes it for all its widgets."""
        client = self.client
        client.control_channel.send(client.session.msg("create_subshell_request"))
        return str(client.get_control_msg(timeout=PATIENCE)["content"]["subshell_id"])

    def interrupt(self) -> None:
        """What the stop button does."""
        self.manager.interrupt_kernel()

    def _reply(self, sent: str) -> dict[str, Any]:
        """The content of the kernel's answer to the request `sent`."""
        while True:
            reply = self.client.get_shell_msg(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") == sent:
                return dict(reply["content"])

    @staticmethod
    def _take(seen: Seen, kind: str, content: dict[str, Any]) -> str:
        if kind == "stream":
            seen.stream += content["text"]
            return str(content["text"])
        if kind == "error":
            seen.error = content["traceback"]
            return "\n".join(seen.error)
        if kind not in ("display_data", "update_display_data", "execute_result"):
            return ""
        data = content["data"]
        name = content.get("transient", {}).get("display_id", f"anonymous {len(seen.displays)}")
        if kind == "execute_result":
            seen.text = data.get("text/plain", "")
        else:
            seen.displays[name] = data
        if "text/html" in data:
            seen.html.append(data["text/html"])
        return str(data.get("text/plain", ""))
