# SPDX-License-Identifier: Apache-2.0
"""The history of the database's tables, walked by Alembic."""
