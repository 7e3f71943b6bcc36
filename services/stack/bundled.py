"""Where the servers that came as Python packages are, without importing those packages: an import
would start what they do for others (one warns about directories, one reads the machine)."""

import importlib.util
from pathlib import Path


def package_folder(name: str) -> Path | None:
    """The folder of an installed package; None when it is not installed."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0])
