"""ContextVQA: images in, `{context, qas}` records out, through Redis and vLLM."""

__version__ = "0.1.0"
