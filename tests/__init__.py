"""The tests: one folder a room or a kind of proof; `support` is what they share."""
