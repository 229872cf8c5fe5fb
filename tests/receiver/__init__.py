"""Tests of logship/_receiver."""
