# SPDX-License-Identifier: Apache-2.0
"""Photographs: one reader per format, into pixels that are the right way up."""
