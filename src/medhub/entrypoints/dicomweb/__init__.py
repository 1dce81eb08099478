# SPDX-License-Identifier: Apache-2.0
"""DICOMweb (PS3.18): search, retrieve, store and delete by the tools that people have already.

The standard describes these routes; the document of the JSON API does not repeat it.
"""
