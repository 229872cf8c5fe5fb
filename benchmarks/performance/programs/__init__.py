"""The measured processes: each imports what its subject needs, and prints one JSON document."""
