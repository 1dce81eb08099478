# SPDX-License-Identifier: Apache-2.0
"""The doors: web, worker, command line; each maps the errors of the house once."""
