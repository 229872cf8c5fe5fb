"""What tells a person: rules, runbook and dashboard, and that each alert fires when it should."""
