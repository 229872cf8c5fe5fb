"""Tests of logship/_protocol."""
