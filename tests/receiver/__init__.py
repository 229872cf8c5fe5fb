"""Tests of logship/receiver."""
