# SPDX-License-Identifier: Apache-2.0
"""The archive: searchable attributes, files that name their patient themselves, settings of projects, known peers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from medhub.foundation.database import Document, UTCDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Rows that are there get a value; later ones are given one by the program.
_ADDED = {
    "studies": ("study_date", "study_time", "attributes"),
    "series": ("attributes",),
    "images": ("shown_as", "attributes"),
    "arrivals": ("route",),
}
_EMPTY = sa.text("'{}'")


def upgrade() -> None:
    with op.batch_alter_table("studies") as table:
        table.add_column(sa.Column("study_date", sa.String(length=8), nullable=False, server_default=""))
        table.add_column(sa.Column("study_time", sa.String(length=16), nullable=False, server_default=""))
        table.add_column(sa.Column("attributes", Document, nullable=False, server_default=_EMPTY))
        table.add_column(sa.Column("settles_at", UTCDateTime(), nullable=True))
        table.create_index("ix_studies_project_id_study_date", ["project_id", "study_date"])
        table.create_index("ix_studies_settles_at", ["settles_at"])
    with op.batch_alter_table("series") as table:
        table.add_column(sa.Column("number", sa.Integer(), nullable=True))
        table.add_column(sa.Column("attributes", Document, nullable=False, server_default=_EMPTY))
        table.add_column(sa.Column("metadata_blob", sa.String(length=64), nullable=True))
    with op.batch_alter_table("images") as table:
        table.add_column(sa.Column("shown_as", sa.String(length=12), nullable=False, server_default="image"))
        table.add_column(sa.Column("instance_number", sa.Integer(), nullable=True))
        table.add_column(sa.Column("attributes", Document, nullable=False, server_default=_EMPTY))
    with op.batch_alter_table("arrivals") as table:
        table.alter_column("patient_id", existing_type=sa.String(length=32), nullable=True)
        table.add_column(sa.Column("route", sa.String(length=10), nullable=False, server_default="upload"))
        table.add_column(sa.Column("peer", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("candidates", Document, nullable=True))
    for name, columns in _ADDED.items():
        with op.batch_alter_table(name) as table:
            for column in columns:
                table.alter_column(column, server_default=None)
    op.create_table(
        "sources",
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("patient_id", sa.String(length=32), nullable=False),
        sa.Column("traits", Document, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_sources_project_id_projects"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["patient_id"], ["patients.id"], name=op.f("fk_sources_patient_id_patients"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "kind", "key", name=op.f("pk_sources")),
    )
    op.create_index(op.f("ix_sources_patient_id"), "sources", ["patient_id"])
    op.create_table(
        "archive_settings",
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("duplicates", sa.String(length=8), nullable=False),
        sa.Column("settle_s", sa.Integer(), nullable=False),
        sa.Column("pathways", Document, nullable=False),
        sa.Column("attributes", Document, nullable=False),
        sa.Column("index_total", sa.Integer(), nullable=False),
        sa.Column("index_done", sa.Integer(), nullable=False),
        sa.Column("index_state", sa.String(length=8), nullable=False),
        sa.Column("index_turn", sa.Integer(), nullable=False),
        sa.Column("changed_at", UTCDateTime(), nullable=False),
        sa.Column("changed_by", sa.String(length=120), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_archive_settings_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_archive_settings")),
    )
    op.create_table(
        "peers",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("ae_title", sa.String(length=16), nullable=False),
        sa.Column("called_ae", sa.String(length=16), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("only_from_host", sa.Boolean(), nullable=False),
        sa.Column("tls", sa.Boolean(), nullable=False),
        sa.Column("may_store", sa.Boolean(), nullable=False),
        sa.Column("may_query", sa.Boolean(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("created_by", sa.String(length=120), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_peers_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_peers")),
        sa.UniqueConstraint("ae_title", "called_ae", name=op.f("uq_peers_ae_title")),
    )
    op.create_index(op.f("ix_peers_project_id"), "peers", ["project_id"])


def downgrade() -> None:
    op.drop_table("peers")
    op.drop_table("archive_settings")
    op.drop_table("sources")
    op.execute("DELETE FROM arrivals WHERE patient_id IS NULL")
    with op.batch_alter_table("arrivals") as table:
        for name in ("candidates", "peer", "route"):
            table.drop_column(name)
        table.alter_column("patient_id", existing_type=sa.String(length=32), nullable=False)
    with op.batch_alter_table("images") as table:
        for name in ("attributes", "instance_number", "shown_as"):
            table.drop_column(name)
    with op.batch_alter_table("series") as table:
        for name in ("metadata_blob", "attributes", "number"):
            table.drop_column(name)
    with op.batch_alter_table("studies") as table:
        table.drop_index("ix_studies_settles_at")
        table.drop_index("ix_studies_project_id_study_date")
        for name in ("settles_at", "attributes", "study_time", "study_date"):
            table.drop_column(name)
