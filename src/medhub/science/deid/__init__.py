# SPDX-License-Identifier: Apache-2.0
"""De-identification of DICOM objects, photographs and slides by a profile, and the independent PHI scan."""
