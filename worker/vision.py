"""How the model that is loaded turns an image into tokens, read from its image processor."""

from collections.abc import Mapping
from typing import Any

from worker.pixel_budget import TokenGrid


def grid_of_engine(llm: Any) -> TokenGrid | None:
    """Return the grid of the model that an `AsyncLLM` has loaded; None where it tells of none."""
    try:
        processor = llm.renderer.get_mm_processor().info.get_hf_processor()
        overrides = llm.model_config.get_multimodal_config().mm_processor_kwargs
    except Exception:  # noqa: BLE001 - a model's own code raises whatever it lacks, and works
        return None
    return token_grid(getattr(processor, "image_processor", None), overrides)


def token_grid(image_processor: Any, overrides: Mapping[str, Any] | None) -> TokenGrid | None:
    """
    Return the grid of an image processor made like Qwen2-VL's, as those up to Qwen3-VL's are.

    Args:
        image_processor: The one of transformers, or None where a model has none.
        overrides: vLLM's engine argument `mm_processor_kwargs`, which goes before it.

    Returns:
        None for a processor of another kind: of tiles, of a fixed size, ...

    """
    patch_px = getattr(image_processor, "patch_size", None)
    num_merged = getattr(image_processor, "merge_size", None)
    bounds = _bounds(getattr(image_processor, "size", None), overrides or {})
    if not isinstance(patch_px, int) or not isinstance(num_merged, int) or bounds is None:
        return None
    least, most = bounds
    return TokenGrid(side_px=patch_px * num_merged, min_image_px=least, max_image_px=most)


def _bounds(size: Any, overrides: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the least and most pixels of an image, from all the names that these go by."""
    found = {
        "min_pixels": getattr(size, "shortest_edge", None),
        "max_pixels": getattr(size, "longest_edge", None),
    }
    for kwargs in (overrides, overrides.get("images_kwargs") or {}):
        edges = kwargs.get("size") or {}
        for name, edge in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
            found[name] = kwargs.get(name) or edges.get(edge) or found[name]
    least, most = found.values()
    if not isinstance(least, int) or not isinstance(most, int):
        return None
    return least, most
