"""The version of this package, for modules below `logship` itself."""

__version__ = "0.1.0"
