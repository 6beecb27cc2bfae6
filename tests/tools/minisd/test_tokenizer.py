from __future__ import annotations

from tools.minisd.tokenizer import build_tokenizer


def test_tokenizer_follows_clip():
    tokenizer = build_tokenizer(["elephant", "red apple"], 600)
    tokens = tokenizer("A red ELEPHANT, and a zebra", padding="max_length", max_length=77)["input_ids"]
    assert len(tokens) == 77
    assert tokens[0] == tokenizer.bos_token_id == len(tokenizer) - 2
    assert tokens[-1] == tokenizer.eos_token_id == len(tokenizer) - 1
    assert tokenizer.decode(tokens, skip_special_tokens=True) == "a red elephant , and a zebra"
    assert "red</w>" in tokenizer.get_vocab()
