# SPDX-License-Identifier: Apache-2.0
"""Cases on their way along a pathway: verdicts, notes, signatures."""
