"""sqlite-utils without pandas and numpy, which it imports wherever they are installed, only to know their types."""

from __future__ import annotations

import sys
from typing import Any

# numpy takes longer to start than most commands; pandas may be there, too, beside what developers install.
_modules: dict[str, Any] = sys.modules
_hidden = [name for name in ("pandas", "numpy") if name not in _modules]
_modules.update(dict.fromkeys(_hidden))
try:
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations
finally:
    for name in _hidden:
        del _modules[name]

__all__ = ["Database", "Migrations"]
