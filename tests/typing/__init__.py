"""What editors and type checkers know of logship's public names."""
