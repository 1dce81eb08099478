# SPDX-License-Identifier: Apache-2.0
"""What stored objects say beside pixels, as plain values that a page can show."""
