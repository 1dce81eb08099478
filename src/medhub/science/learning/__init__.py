# SPDX-License-Identifier: Apache-2.0
"""Making a classifier: architectures, recipe, dataset, loop, metrics, calibration, export. Alone in knowing torch."""
