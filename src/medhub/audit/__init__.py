# SPDX-License-Identifier: Apache-2.0
"""The audit log: an entry for every act on patient data, in a hash chain that reveals changes."""
