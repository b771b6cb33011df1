"""AWS Batch: job definitions with their retry rules, and jobs submitted and followed."""
