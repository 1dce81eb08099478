# SPDX-License-Identifier: Apache-2.0
"""De-identification of the attributes of a dataset by PS3.15, table E.1-1: which action applies, and what it does."""
