"""The tokenizer: CLIP's byte-pair encoding with a small vocabulary, learnt from all captions that can occur."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from tools.minisd.backgrounds import all_words
from tools.minisd.compose import caption

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77


def build_tokenizer(names: Sequence[str], vocabulary: int) -> CLIPTokenizer:
    """CLIP's tokenizer with byte pairs merged as the captions of objects called `names` suggest.

    Args:
        vocabulary: size of the vocabulary, with 512 entries for the bytes within and at the end of a word and the two
            special tokens, which come last as in CLIP.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 2, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
    )
    corpus = sorted(caption(name, words) for name in names for words in all_words())
    tokenizer.train_from_iterator(corpus, trainer)
    learnt = [tuple(merge) for merge in _merges(tokenizer)][: vocabulary - 514]
    tokens = [*alphabet, *(token + "</w>" for token in alphabet), *dict.fromkeys("".join(pair) for pair in learnt)]
    vocab = {token: index for index, token in enumerate([*tokens, START, END])}
    return CLIPTokenizer(
        vocab=vocab,
        merges=learnt,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=LENGTH,
    )


def _merges(tokenizer: Tokenizer) -> list[list[str]]:
    """The learnt merges in order of their priority."""
    return json.loads(tokenizer.to_str())["model"]["merges"]
