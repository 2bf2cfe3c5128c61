"""What `contextvqa doctor` looks at for the engine's sake. Loads neither vLLM nor torch."""
