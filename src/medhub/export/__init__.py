# SPDX-License-Identifier: Apache-2.0
"""Data leaving in the forms that people use."""
