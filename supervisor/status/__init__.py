"""What is told of a job: the status document, and the places it goes."""
