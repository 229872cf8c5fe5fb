"""Every example under its real server, and an audit of what arrived."""
