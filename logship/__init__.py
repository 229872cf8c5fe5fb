"""Ships application logs to a Fluentd or Fluent Bit sidecar, and loses none."""

__version__ = "0.1.0"
