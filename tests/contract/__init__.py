"""One suite of behaviours, run on every transport and every server that is found."""
