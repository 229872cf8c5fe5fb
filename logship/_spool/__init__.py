"""Crash-safe storage: the spool's file format, process directories, and the recovery of orphans."""
