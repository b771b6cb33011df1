"""Finds where somebody speaks in a recording: audio decodes, detection listens, api is what DEEPaaS calls."""
