"""Standard error as the last resort: written without waiting."""
