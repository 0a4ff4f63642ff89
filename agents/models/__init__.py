"""One way to reach a language model a file. Nothing here loads a network client before a model is asked."""

from .accounting import Usage
from .endpoint import Endpoint

__all__ = ["Endpoint", "Usage"]
