# SPDX-License-Identifier: Apache-2.0
"""Data sets that leave the hub after an independent PHI scan."""
