# SPDX-License-Identifier: Apache-2.0
"""Importing this module takes over the process; only isolated processes of tests preload it."""

from tests.foundation.hostile_worker import take_over

take_over()
