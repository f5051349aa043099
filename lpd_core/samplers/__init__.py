"""Samplers: a language model asked for completions (`transformers.py`), and what that needs, one noun a module.

Importing this package loads no heavy library; its modules are imported where a sampler is built.
"""

import os

# Before torch is loaded: with threads that spin while they wait, a busy neighbour slows two of them twentyfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
