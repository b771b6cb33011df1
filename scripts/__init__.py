"""What runs on the operator's machine: images, job definitions, submission. Nothing here is in an image."""
