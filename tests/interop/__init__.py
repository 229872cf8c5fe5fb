"""What real servers do, each quirk by its name, and that logship copes with it."""
