"""The engine of LPD Studio: latent principle discovery for language-model self-improvement (STaPLe).

Start reading at `lpd_core/loop.py`. Importing this package loads no heavy library.
"""

__version__ = "0.1.0"
