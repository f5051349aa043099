"""A language model asked for completions (`transformers.py`) and what that needs, one noun a module.

Importing this package loads no heavy library; its modules are imported where a sampler is built.
"""

import os

# Before torch is loaded: threads that spin while they wait are slowed twentyfold by one busy neighbour.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
