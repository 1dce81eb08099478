# SPDX-License-Identifier: Apache-2.0
"""Reading an image with a classifier: preprocessing, ONNX Runtime, calibration at use, explanation."""
