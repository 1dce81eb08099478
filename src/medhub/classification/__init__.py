# SPDX-License-Identifier: Apache-2.0
"""What classifiers say of images, and which classifiers there are."""
