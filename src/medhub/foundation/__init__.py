# SPDX-License-Identifier: Apache-2.0
"""Infrastructure without medicine: settings, database, blobs, jobs, events, keys, isolation, logging, clock, ids."""
