# SPDX-License-Identifier: Apache-2.0
"""The content of stored objects without pixels, as plain values for display."""
