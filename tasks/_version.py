"""The version of overnight that these tasks are of: a project has a copy of them, and another engine is refused."""

from overnight import __version__
from overnight.failures import OvernightError

VERSION = "0.1.0"

if __version__ != VERSION:
    raise OvernightError(
        f"tasks/ of this project is of overnight {VERSION}, and overnight {__version__} is installed. Write it anew by"
        " `overnight init --tasks` in the project's folder, or install the other version."
    )
