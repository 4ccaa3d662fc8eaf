"""Trains pangu-mini's SentencePiece model on the language of its tasks.

The corpus is passed line by line and the model is taken back as bytes, because SentencePiece
writes the paths of its files, and with them the machine's, into the model.
"""
import io
import random

import sentencepiece

import tasks
from chat import END, INSTRUCTION, TEMPLATE

SEED = 3
TASKS = 6000
MOST_PIECES = 2048  # the corpus has words enough for 1413
MARKS = [f"[unused{i}]" for i in range(32)]
CHAT_WORDS = ["系统：", "用户：", "助手：", "/no_think", "/auto_think"]


def corpus():
    """Lines of text.  Where a text is broken each side gets a space: the committed pieces were
    learnt from lines like that."""
    rng = random.Random(SEED)
    for _ in range(TASKS):
        task = tasks.draw_task(rng)
        for text in (task.prompt, task.thinking, task.answer, INSTRUCTION):
            yield from text.replace("\n", " \n ").strip().split("\n")
    for word in CHAT_WORDS:  # often enough to become pieces of their own
        yield from [word] * 200


def train():
    """The bytes of tokenizer.model: BPE with byte fallback that loses nothing of its input."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus(), model_writer=model, model_type="bpe",
        vocab_size=MOST_PIECES, hard_vocab_limit=False, byte_fallback=True,
        character_coverage=0.9999, split_digits=True, user_defined_symbols=MARKS,
        normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, add_dummy_prefix=False,
        unk_id=0, bos_id=1, eos_id=2, pad_id=-1, minloglevel=2)
    return model.getvalue()


def describe(pieces):
    """The contents of tokenizer_config.json for a SentencePieceProcessor."""
    added = {pieces.piece_to_id(mark): {"content": mark, "lstrip": False, "normalized": False,
                                        "rstrip": False, "single_word": False, "special": True}
             for mark in ["<unk>", "<s>", "</s>", *MARKS]}
    return {"add_bos_token": True, "add_eos_token": False, "add_prefix_space": True,
            "added_tokens_decoder": added, "bos_token": "<s>", "eos_token": END,
            "pad_token": "<unk>", "unk_token": "<unk>", "legacy": False,
            "tokenizer_class": "PanguTokenizer", "chat_template": TEMPLATE}
