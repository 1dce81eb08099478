# SPDX-License-Identifier: Apache-2.0
"""Medhub: a self-hosted hub for medical images, from arrival to signed report."""

import os

__version__ = "0.1.0"

# ONNX Runtime reads this at its import. Otherwise it stores an id of the computer and contacts a host of its maker.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
