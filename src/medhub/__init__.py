# SPDX-License-Identifier: Apache-2.0
"""Medhub: a self-hosted hub for medical images, from arrival to signed report."""

__version__ = "0.1.0"
