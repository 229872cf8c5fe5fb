"""Each entrypoint, stop signal and disposition: how it ends, and that nothing is lost."""
