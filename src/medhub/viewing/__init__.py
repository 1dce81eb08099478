# SPDX-License-Identifier: Apache-2.0
"""Images as the browser shows them: renditions, originals."""
