# SPDX-License-Identifier: Apache-2.0
"""One entry for every act on a patient's data, in a hash chain that shows tampering."""
