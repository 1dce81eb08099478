# SPDX-License-Identifier: Apache-2.0
"""Users, projects, roles and sign-in: who may do what in which project."""
