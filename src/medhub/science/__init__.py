# SPDX-License-Identifier: Apache-2.0
"""Pure knowledge: arrays and datasets in, values out; no database, no HTTP."""
