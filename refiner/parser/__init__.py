"""From raw text to article and pairs: pure, without a model, in linear time."""
