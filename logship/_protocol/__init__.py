"""The forward protocol, both roles, as pure functions on bytes: entries, frames, acks."""
