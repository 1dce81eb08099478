# SPDX-License-Identifier: Apache-2.0
"""People, projects, roles, sign-in: who may do what, and where."""
