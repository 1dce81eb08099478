# SPDX-License-Identifier: Apache-2.0
"""The PDF report of a signed case, its signature, and its verification."""
