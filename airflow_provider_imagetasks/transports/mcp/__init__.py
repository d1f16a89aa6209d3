"""Runs flows that call tools of MCP servers, over the official ``mcp`` SDK, which is imported only when needed."""
