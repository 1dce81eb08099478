# SPDX-License-Identifier: Apache-2.0
"""Patients, studies, series, images, the fields that projects define, and the identity vault."""
