# SPDX-License-Identifier: Apache-2.0
"""DICOM's own network services (PS3.7, PS3.8): what nodes send to Medhub, ask of it, and have sent to others."""
