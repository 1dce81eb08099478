# SPDX-License-Identifier: Apache-2.0
"""Display of images in the browser: renditions and original files."""
