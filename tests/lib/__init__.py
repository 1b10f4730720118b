# SPDX-License-Identifier: Apache-2.0
"""lib: what the end-to-end tests are made of. tests/README.md tells the story."""
