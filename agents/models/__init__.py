"""Language models, one backend per file. Importing this loads no network client."""

from .accounting import Usage
from .endpoint import Endpoint

__all__ = ["Endpoint", "Usage"]
