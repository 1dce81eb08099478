# SPDX-License-Identifier: Apache-2.0
"""Entry points: web server, DICOM listener, worker, command line; each maps the exceptions of medhub.errors once."""
