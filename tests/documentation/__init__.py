"""What the pages in docs/ say is what the code does."""
