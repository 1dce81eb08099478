# SPDX-License-Identifier: Apache-2.0
"""Codecs, DICOM files, photographs, rendering and content of stored objects."""
