# SPDX-License-Identifier: Apache-2.0
"""Every arrival of a file: accepted, duplicate, or quarantined with a reason."""
