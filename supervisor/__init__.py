"""Runs DEEPaaS predictions unattended: objects in, JSON out, an honest exit code."""

__version__ = "0.1.0"
