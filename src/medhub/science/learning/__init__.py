# SPDX-License-Identifier: Apache-2.0
"""Training of classifiers: recipes, data sets, metrics, calibration, export. Only this package imports torch."""
