# SPDX-License-Identifier: Apache-2.0
"""What may stay in an image, and the removal of all else."""
