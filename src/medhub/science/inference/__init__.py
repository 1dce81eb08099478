# SPDX-License-Identifier: Apache-2.0
"""Classification of an image: preprocessing, ONNX Runtime, calibration at use, evidence maps, model cards."""
