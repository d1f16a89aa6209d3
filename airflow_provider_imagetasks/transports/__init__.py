"""Runs a flow: requests on a worker, aiohttp on an event loop, a session with an MCP server."""
