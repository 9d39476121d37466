"""The package's version, below every layer that writes it into files."""

from __future__ import annotations

__version__ = "0.1.0"
