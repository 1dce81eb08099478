# SPDX-License-Identifier: Apache-2.0
"""From a received file to a stored image, a duplicate, or a quarantined file with a reason."""
