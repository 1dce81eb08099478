# SPDX-License-Identifier: Apache-2.0
"""DICOM files: parsing, checks, kinds of objects, writing, directories, and where their pixels are."""
