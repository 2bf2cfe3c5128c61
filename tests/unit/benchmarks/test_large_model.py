"""The model of the GPU benchmark: whatever it writes can be read."""

from pathlib import Path

import orjson
from tokenizers import Tokenizer

from benchmarks import large_model


def test_its_tokenizer_knows_every_token_that_the_model_may_write(tmp_path: Path) -> None:
    directory = large_model.write(tmp_path / "model")

    config = orjson.loads((directory / "config.json").read_bytes())
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == config["text_config"]["vocab_size"]
    assert tokenizer.decode([151_935]) == "t151935 "
    assert tokenizer.encode("<|image_pad|>").ids == [config["image_token_id"]]
