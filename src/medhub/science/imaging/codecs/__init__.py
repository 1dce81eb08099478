# SPDX-License-Identifier: Apache-2.0
"""Compressed pixel data: JPEG, JPEG-LS, JPEG 2000, RLE and deflate, and the transfer syntaxes that use them."""
