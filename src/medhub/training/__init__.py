# SPDX-License-Identifier: Apache-2.0
"""Data sets from signed verdicts, trainings, promotions, and drift."""
