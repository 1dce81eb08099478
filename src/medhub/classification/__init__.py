# SPDX-License-Identifier: Apache-2.0
"""Predictions of classifiers, and which classifier reads the images of which pathway."""
