# SPDX-License-Identifier: Apache-2.0
"""DICOM nodes: remote application entities that may send and query, and how Medhub calls them."""
