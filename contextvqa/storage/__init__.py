"""A run's directory: durable appends, and what is known of its files without reading them again."""
