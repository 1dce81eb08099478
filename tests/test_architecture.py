# SPDX-License-Identifier: Apache-2.0
"""Rules of the architecture that hold across capabilities."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from fastapi import APIRouter, FastAPI

from medhub.accounts.access import PUBLIC, allow
from medhub.entrypoints import cli, cli_training, openapi
from medhub.entrypoints.web import RouteWithoutPermission, check_route_permissions, list_routes
from medhub.foundation.settings import Settings
from tests.conftest import ROOT, missing
from tests.factories.accounts import PASSWORD

BIN = Path(sys.executable).parent


def tracked(*patterns: str) -> list[Path]:
    """The files that are committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        missing("the git repository")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_directions_of_imports_are_kept() -> None:
    ended = subprocess.run(
        [BIN / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stdout
    assert "4 kept, 0 broken" in ended.stdout


def test_the_committed_document_of_the_api_is_current() -> None:
    committed = (ROOT / "web" / "openapi.json").read_text(encoding="utf-8")
    assert committed == openapi.document(), "run `make api`"


def test_every_operation_of_the_document_has_words_and_a_name_of_its_own() -> None:
    document = json.loads(openapi.document())
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all(operation["summary"] and operation["description"] for operation in operations)
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert '"example' in openapi.document()


# Routes.


def test_a_route_without_a_gate_is_refused() -> None:
    def read() -> None: ...

    open_route, router = APIRouter(), APIRouter()
    open_route.add_api_route("/api/open", read, dependencies=[PUBLIC])
    router.add_api_route("/api/forgotten", read)
    web_app = FastAPI()
    web_app.include_router(open_route)
    check_route_permissions(web_app)
    web_app.include_router(router, prefix="/deeper")
    with pytest.raises(RouteWithoutPermission, match="/deeper/api/forgotten"):
        check_route_permissions(web_app)


def test_the_search_for_routes_sees_those_of_included_routers() -> None:
    router = APIRouter()
    router.add_api_route("/api/inside", lambda: None, dependencies=[PUBLIC])
    web_app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    web_app.include_router(router)
    assert [route.path for route in list_routes(web_app)] == ["/api/inside"]


def test_a_gate_for_an_action_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="table of permissions"):
        allow("patient.clone")


# What is written down.


def default_of(name: str) -> str:
    value = Settings.model_fields[name].default
    if name == "data":
        return "the user's data folder"
    if value is None:
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_every_setting_is_documented_with_its_default() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"| `MEDHUB_{name.upper()}` | {default_of(name)} | {field.description} |" in page
    known = {f"MEDHUB_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"MEDHUB_[A-Z_]+", page)) == known


def commands() -> Iterator[tuple[str, Any]]:
    """Each command by its whole name."""

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        inside = getattr(command, "commands", None)
        if inside is None or command.invoke_without_command:
            yield name, command
        if inside is None:
            return
        for part, module in inside.items():
            yield from walk(f"{name} {part}", module)

    yield from walk("medhub", typer.main.get_command(cli.cli))


def test_every_command_is_documented_with_its_options() -> None:
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (medhub[^\n]*)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert set(sections) == {name for name, _ in commands()} | {"medhub"}
    for name, command in commands():
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        options -= {"--help"}
        assert options <= set(re.findall(r"--[a-z-]+", sections[name])), name
        # De-identification of files knows no installation.
        assert ("--data" in options) != name.startswith("medhub deid "), f"{name} takes no data folder"


def test_every_exit_code_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert listed == {0, 1, cli.FAULT_EXIT_CODE, cli_training.EXIT_STOPPED, *cli.EXIT_CODES.values()}
    assert cli.__doc__ is not None
    assert {int(code) for code in re.findall(r"(?<!\d)\d+(?= )", cli.__doc__)} == listed


# What lies in the repository.


def test_every_source_file_names_its_licence() -> None:
    files = [path for path in tracked("*.py", "*.ts", "*.tsx", "*.css") if not path.name.endswith(".d.ts")]
    assert len(files) > 100
    line = "SPDX-License-Identifier: " + "Apache-2.0"
    assert [path for path in files if line not in path.read_text(encoding="utf-8")[:300]] == []


def test_nothing_names_a_place_of_one_machine_or_a_mirror() -> None:
    text_files = [path for path in tracked() if b"\0" not in path.read_bytes()[:8000]]
    # Written so that this file does not find itself.
    machine = re.compile(rf"(?<![\w.~-])/({'|'.join(('wo' + 'rk', 'ro' + 'ot', 'Us' + 'ers'))})/\w")
    index, lock = r"^\s*(--)?(extra-)?index" + r"-url\b", r'"resol' + r'ved": *"http'
    mirror = re.compile(f"{index}|{lock}", re.MULTILINE)
    matches = []
    for path in text_files:
        text = path.read_text(encoding="utf-8", errors="replace")
        matches += [f"{path.name}: {match[0]}" for match in machine.finditer(text)]
        matches += [f"{path.name}: {match[0]}" for match in mirror.finditer(text)]
    assert matches == []
    assert machine.search("cd /" + "work/x")
    assert mirror.search("--index" + "-url https://mirror.example/simple")


def test_no_module_is_called_after_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "managers", "misc", "common"}
    assert [path for path in tracked("*.py", "*.ts", "*.tsx") if path.stem.lower() in vague] == []


# What the server needs.


def test_two_libraries_that_are_never_wanted_are_not_installed() -> None:
    assert [name for name in ("torchvision", "timm") if importlib.util.find_spec(name) is not None] == []


BLOCK = """
import importlib.abc, sys

BLOCKED = {"torch", "torchvision", "onnx", "tflite", "timm"}


class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")
        return None


sys.meta_path.insert(0, Blocker())
"""


@contextmanager
def serving(data: Path, environment: dict[str, str]) -> Iterator[str]:
    """A server process on a free port; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "medhub.entrypoints.cli", "serve", "--data", str(data), "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(300):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            try:
                if httpx.get(f"{address}/api/ready").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        else:
            pytest.fail("The server did not start within half a minute.")
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_the_server_runs_and_classifies_without_torch(tmp_path: Path) -> None:
    if not (ROOT / "models" / "blood-cells" / "model.onnx").is_file():
        missing("the classifier models/blood-cells")
    cells = sorted((ROOT / "demo" / "blood-cells").rglob("*.jpg"))[:2]
    if not cells:
        missing("the images under demo/blood-cells")
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "sitecustomize.py").write_text(BLOCK)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "blocked"), "MEDHUB_DECODER_WORKERS": "1"}

    def run(*arguments: str | Path, stdin: str = "", code: int = 0) -> str:
        ended = subprocess.run(
            [sys.executable, *arguments], env=environment, input=stdin, capture_output=True, text=True, check=False
        )
        assert ended.returncode == code, ended.stderr
        return ended.stdout.strip()

    data = tmp_path / "data"
    run("-c", "import torch", code=1)  # the block blocks
    medhub = ("-m", "medhub.entrypoints.cli")
    run(*medhub, "project", "add", "Haematology", "--data", data)
    user = ("--email", "t@lab.example", "--name", "T", "--role", "technologist", "--project", "Haematology")
    run(*medhub, "user", "add", *user, "--password-stdin", "--data", data, stdin=PASSWORD)
    with serving(data, environment) as address, httpx.Client(base_url=address, timeout=30) as client:
        form = {"username": "t@lab.example", "password": PASSWORD}
        token = client.post("/api/auth/token", data=form).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        patient = client.post("/api/patients", json={"sex": "F"}).json()["id"]
        files = [("files", (cell.name, cell.read_bytes())) for cell in cells]
        sent = client.post("/api/images", data={"patient_id": patient, "pathway": "smear-review"}, files=files)
        assert [item["outcome"] for item in sent.json()["items"]] == ["accepted"] * 2
        for _ in range(300):
            images = client.get(f"/api/images?patient_id={patient}").json()["items"]
            if all(image["state"] != "waiting" for image in images):
                break
            time.sleep(0.1)
        assert [image["state"] for image in images] == ["read", "read"]
        assert all(image["prediction"]["classifier"] == "blood-cells" for image in images)
        page = client.get("/")
        assert page.status_code in {200, 503}  # 503 where the web app is not built


_SESSION_CALL = re.compile(r"\bsession\.(get|get_one|scalar|scalars|execute|add|add_all|delete|merge)\(")


def test_routes_contain_no_sql() -> None:
    """A route calls a use case or a query; it imports nothing of SQLAlchemy but the type of its session."""
    offences = []
    for path in sorted((ROOT / "src" / "medhub").rglob("*routes.py")):
        text = path.read_text(encoding="utf-8")
        imports = re.findall(r"^(?:from|import) sqlalchemy.*$", text, re.MULTILINE)
        offences += [f"{path.name}: {line}" for line in imports if line != "from sqlalchemy.orm import Session"]
        offences += [f"{path.name}: {match[0]}" for match in _SESSION_CALL.finditer(text)]
    assert offences == []


def test_only_the_edges_commit() -> None:
    """Use cases flush; the session that foundation opens for a request, command or job commits once at its end."""
    edges = {"foundation", "entrypoints"}
    source = ROOT / "src" / "medhub"
    offences = [
        str(path.relative_to(source))
        for path in sorted(source.rglob("*.py"))
        if path.relative_to(source).parts[0] not in edges and ".commit(" in path.read_text(encoding="utf-8")
    ]
    assert offences == []
