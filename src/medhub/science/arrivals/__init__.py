# SPDX-License-Identifier: Apache-2.0
"""From one received file to one cleaned image, or a refusal with its reason."""
