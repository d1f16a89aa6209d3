"""Fetching results: streamed to a temporary file, verified as a picture, then put in place in one step."""
