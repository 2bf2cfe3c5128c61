"""What a process counts and how it is asked: numbers of its own, and an endpoint for Prometheus."""
