# SPDX-License-Identifier: Apache-2.0
"""Scheduled studies: what a modality is to do for which patient, and what it reports of doing it."""
