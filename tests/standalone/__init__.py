"""Tests of the self-contained build of the command."""
