# SPDX-License-Identifier: Apache-2.0
"""The document issued for a signed case, and its verification."""
