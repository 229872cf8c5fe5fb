"""Shows that what was accepted outlives the process, and that nothing on a spool can do harm."""
