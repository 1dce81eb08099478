# SPDX-License-Identifier: Apache-2.0
"""DICOM, photographs, frames, windowing and renditions."""
