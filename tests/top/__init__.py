"""`logship top`, from numbers made by hand and from processes that log."""
