"""The asyncio client, the threaded client, and how both end."""
