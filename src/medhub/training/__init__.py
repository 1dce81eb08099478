# SPDX-License-Identifier: Apache-2.0
"""Signed verdicts as training data."""
