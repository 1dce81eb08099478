# SPDX-License-Identifier: Apache-2.0
"""Ground without medicine: settings, database, blobs, jobs, events, keys, logging, clock, ids."""
