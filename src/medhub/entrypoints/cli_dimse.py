# SPDX-License-Identifier: Apache-2.0
"""Commands of the DICOM network services: the listener, sending, and the registered nodes."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from medhub.accounts import service as accounts
from medhub.accounts.actor import COMMAND_LINE
from medhub.entrypoints.bootstrap import build
from medhub.entrypoints.cli_data_folder import AsJSON, Data, load_settings, open_app
from medhub.errors import Invalid, NotFound
from medhub.foundation import logging
from medhub.nodes import service as nodes

dicom_app = typer.Typer(
    help="DICOM network services: receive, query and send (C-ECHO, C-STORE, C-FIND, C-MOVE, C-GET).",
    invoke_without_command=True,
)
node_app = typer.Typer(help="DICOM nodes: their addresses and permissions.", no_args_is_help=True)

USUAL_PORT = 11112


@dicom_app.callback()
def listen(
    context: typer.Context,
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; MEDHUB_DICOM_HOST, or 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; MEDHUB_DICOM_PORT, or 11112.", min=0, max=65535)
    ] = None,
) -> None:
    """Start the DICOM listener, which receives objects and answers queries of DICOM nodes. Ctrl+C stops it."""
    if context.invoked_subcommand is not None:
        return
    from medhub.entrypoints.dimse import listener_process

    settings = load_settings(data, dicom_host=host, dicom_port=port)
    if settings.dicom_port is None:
        settings = settings.model_copy(update={"dicom_port": USUAL_PORT})
    logging.configure(as_json=settings.log_json)
    app = build(settings)
    try:
        listener_process.listen(app)
    finally:
        app.close()


@dicom_app.command("send")
def send(
    project: Annotated[str, typer.Option(help="Name or id of the project.")],
    to: Annotated[str, typer.Option(help="AE title of a DICOM node of the project.")],
    patient: Annotated[list[str] | None, typer.Option(help="Code of a patient; repeatable.")] = None,
    study: Annotated[list[str] | None, typer.Option(help="Study Instance UID; repeatable.")] = None,
    data: Data = None,
    as_json: AsJSON = False,
) -> None:
    """Send patients or studies to a DICOM node by C-STORE; exit code 1 if an object was not accepted."""
    from medhub.export.transfer import send_objects, stored_objects

    if not patient and not study:
        raise Invalid("Select what is sent, with --patient or --study.")
    with open_app(data) as app:
        with app.database.reading() as session:
            project_id = accounts.find_project(session, project).id
            node = nodes.find_destination(session, project_id, to)
            objects = stored_objects(
                session, COMMAND_LINE, project_id, patients=patient or [], studies=study or [], to=node.ae_title
            )
        if not objects:
            raise NotFound("These patients and studies have no objects.")
        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task(f"Sending to {node.ae_title}", total=len(objects))
            result = send_objects(app, node, objects, lambda done: progress.update(bar, completed=done))
    value = {"sent": result.sent, "warned": result.warned, "failed": len(result.failed)}
    print(json.dumps(value) if as_json else f"Sent {result.sent} of {len(objects)} objects to {node.ae_title}.")
    if result.failed:
        raise typer.Exit(1)


@node_app.command("add")
def add_node(
    ae_title: Annotated[str, typer.Argument(help="AE title of the node.")],
    project: Annotated[str, typer.Option(help="Name or id of the project to which the node belongs.")],
    called: Annotated[
        str | None, typer.Option(help="AE title of Medhub that the node calls; default: MEDHUB_DICOM_AE_TITLE.")
    ] = None,
    host: Annotated[str, typer.Option(help="Host name or address of the node, to send to it.")] = "",
    port: Annotated[int, typer.Option(help="Port of the node.", min=0, max=65535)] = 0,
    tls: Annotated[bool, typer.Option("--tls", help="Connect to the node by TLS.")] = False,
    store: Annotated[bool, typer.Option("--store/--no-store", help="Whether the node may send objects.")] = True,
    query: Annotated[bool, typer.Option("--query/--no-query", help="Whether the node may query and retrieve.")] = False,
    worklist: Annotated[
        bool,
        typer.Option(
            "--worklist/--no-worklist", help="Whether the node may read the worklist, with identities of patients."
        ),
    ] = False,
    only_from_host: Annotated[
        bool | None,
        typer.Option(
            "--only-from-host/--any-address",
            help="Whether the node may connect only from the address of its host, which is the default, or from any.",
        ),
    ] = None,
    data: Data = None,
    as_json: AsJSON = False,
) -> None:
    """Register a DICOM node with a project, and print its id."""
    with open_app(data) as app, app.database.writing() as session:
        values = {
            "ae_title": ae_title,
            "called_ae": called or app.settings.dicom_ae_title,
            "host": host,
            "port": port,
            "only_from_host": nodes.origin_rule(app.settings, host, only_from_host),
            "tls": tls,
            "may_store": store,
            "may_query": query,
            "may_read_worklist": worklist,
        }
        node = nodes.add_node(session, COMMAND_LINE, accounts.find_project(session, project).id, values)
        print(json.dumps({"id": node.id, **values}) if as_json else node.id)


@node_app.command("list")
def list_nodes(data: Data = None, as_json: AsJSON = False) -> None:
    """List the DICOM nodes of all projects."""
    with open_app(data) as app, app.database.reading() as session:
        rows = [(row.id, nodes.DicomNodeInfo.of(row)) for row in nodes.all_nodes(session)]
        open_titles = {row.id for row in nodes.all_nodes(session) if not row.only_from_host}
    if as_json:
        print(json.dumps([{"id": identifier, **asdict(node)} for identifier, node in rows]))
        return
    for identifier, node in rows:
        rights = (("send", node.may_store), ("query", node.may_query), ("read the worklist", node.may_read_worklist))
        may = [word for word, holds in rights if holds]
        address = f"{node.host}:{node.port}{' (TLS)' if node.tls else ''}" if node.host else "no address"
        warning = "; warning: from any address" if identifier in open_titles else ""
        may_text = " and ".join(may) or "nothing"
        print(f"{identifier}  {node.ae_title} calls {node.called_ae}; may {may_text}; {address}{warning}")


@node_app.command("remove")
def remove_node(
    peer: Annotated[str, typer.Argument(help="Id of the node, as `medhub node list` prints it.")], data: Data = None
) -> None:
    """Remove a DICOM node; the images that it sent are kept."""
    with open_app(data) as app, app.database.writing() as session:
        nodes.remove_node(session, COMMAND_LINE, peer)


@node_app.command("echo")
def echo(
    peer: Annotated[str, typer.Argument(help="Id of the node, as `medhub node list` prints it.")], data: Data = None
) -> None:
    """Test the connection to a DICOM node (C-ECHO); exit code 5 if it does not answer."""
    from medhub.nodes import dicom_client

    with open_app(data) as app:
        with app.database.reading() as session:
            node = nodes.DicomNodeInfo.of(nodes.get_node(session, COMMAND_LINE, peer))
        dicom_client.echo(app.settings, node)
        print(f"{node.ae_title} answers.")
