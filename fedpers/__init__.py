"""fedpers simulates federated learning of personalised language models."""

from importlib.metadata import version

__version__ = version("fedpers")
