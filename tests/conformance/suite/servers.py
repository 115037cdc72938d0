"""The servers under test: `servers.toml`, and how one is started."""

import json
import os
import sys
import tomllib
from dataclasses import dataclass

from . import environments
from .processes import Process, free_port


@dataclass(frozen=True)
class Server:
    """One server with one app: a column is one server with all of its apps."""

    name: str
    version: str
    packages: str | None
    command: tuple
    framework: str
    app: str
    # What has it keep connections, where it does not by itself.
    keeps: tuple

    @property
    def title(self):
        """The column of the table that it counts in."""
        return f"{self.name} {self.version}"

    @property
    def slug(self):
        return "".join(c if c.isalnum() or c == "." else "-" for c in f"{self.title}-{self.framework}".lower())


def load():
    """Every server with every one of its apps, in the order of the file."""
    with open(environments.HERE / "servers.toml", "rb") as file:
        entries = tomllib.load(file)["server"]
    return [
        Server(
            entry["name"],
            environments.version(entry.get("packages", "apps"), entry["distribution"]),
            entry.get("packages"),
            tuple(entry["command"]),
            framework,
            app,
            tuple(entry.get("keeps", ())),
        )
        for entry in entries
        for framework, app in entry["apps"].items()
    ]


class Backend:
    """A running server, and what its app noted."""

    def __init__(self, server, scratch, more=()):
        self.port = free_port()
        self.record = scratch / "record.jsonl"
        self.record.touch()
        self.read_up_to = 0
        folders = [environments.directory(server.packages)] if server.packages else []
        folders += [environments.directory("apps"), environments.HERE / "apps"]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(scratch),
            "PYTHONPATH": os.pathsep.join(map(str, folders)),
            "PYTHONDONTWRITEBYTECODE": "",
            "CONFORMANCE_RECORD": str(self.record),
        }
        fill = {"port": self.port, "app": server.app, "scratch": scratch}
        # -S: nothing of the environment that this suite itself runs in.
        command = [sys.executable, "-S", *(part.format(**fill) for part in server.command), *more]
        self.process = Process("server", command, scratch, environment, self.port)

    def take_notes(self):
        """What the app noted since the last call."""
        with open(self.record, "rb") as file:
            file.seek(self.read_up_to)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self.read_up_to += len(whole)
        return [json.loads(line) for line in whole.splitlines()]

    def stop(self):
        self.process.stop()
