# SPDX-License-Identifier: Apache-2.0
"""Cases that move along a pathway: verdicts, notes, signatures."""
