# SPDX-License-Identifier: Apache-2.0
"""The parts of the last look: how it reads words, writing in pictures, DICOM objects and other files."""
