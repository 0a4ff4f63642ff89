"""The same runs on several processes or on a Ray cluster."""
