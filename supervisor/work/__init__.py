"""From the job to its work: which inputs there are, where each result goes, and which results may stand as they are."""
