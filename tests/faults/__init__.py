"""Trouble on purpose: a proxy that makes S3 misbehave, and jobs whose every result is checked after it."""
