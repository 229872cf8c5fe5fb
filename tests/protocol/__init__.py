"""Tests of logship/protocol."""
