"""The MCP servers that the local service stands in for, on the official ``mcp`` SDK; imported when first asked."""
