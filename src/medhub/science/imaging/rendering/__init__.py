# SPDX-License-Identifier: Apache-2.0
"""From stored samples to the picture a screen shows: frames, grayscale transforms, views and renditions."""
