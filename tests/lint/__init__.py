"""Deployment files, clean and broken, and what `logship lint` says of them."""
