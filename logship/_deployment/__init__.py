"""Checks of a deployment: `logship lint` reads its files, `logship doctor` checks from inside."""
