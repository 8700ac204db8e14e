"""Data and weights for the programs, made here: small, random, and the same each time.

    python made.py KIND ...

writes them into the folder that it runs in.
"""

import gzip
import itertools
import json
import random
import sys
import wave
from pathlib import Path

import numpy as np
import torch
from PIL import Image

WORDS = """the a ship sea wind night king queen goes comes sleeps sings over under with
and but""".split()  # noqa: SIM905 - a list of them is harder to read


def text(sentences: int, seed: int) -> str:
    """Sentences of few words."""
    draw = random.Random(seed)
    lines = (" ".join(draw.choices(WORDS, k=draw.randint(4, 12))) for _ in range(sentences))
    return "".join(f"{line.capitalize()} .\n" for line in lines)


def shakespeare() -> None:
    """Not Shakespeare's, but where nanoGPT looks for him, cut into tokens as prepare.py does."""
    folder = Path("data/shakespeare_char")
    written = text(400, 1)
    letters = sorted(set(written))
    stoi = {letter: i for i, letter in enumerate(letters)}
    ids = np.array([stoi[letter] for letter in written], dtype=np.uint16)
    cut = len(ids) * 9 // 10
    ids[:cut].tofile(folder / "train.bin")
    ids[cut:].tofile(folder / "val.bin")
    import pickle

    meta = {"vocab_size": len(letters), "itos": dict(enumerate(letters)), "stoi": stoi}
    (folder / "meta.pkl").write_bytes(pickle.dumps(meta))


def words() -> None:
    """A corpus of words in three files."""
    Path("words").mkdir()
    for seed, (name, sentences) in enumerate((("train", 300), ("valid", 30), ("test", 30))):
        Path("words", f"{name}.txt").write_text(text(sentences, seed))


def images() -> None:
    """Three classes of coloured noise, to train on and to validate with."""
    draw = np.random.default_rng(1)
    for split, count in (("train", 6), ("val", 2)):
        for kind in range(3):
            folder = Path("images", split, f"kind{kind}")
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 128, (80, 80, 3), dtype=np.uint8)
                pixels[:, :, kind] += 100
                Image.fromarray(pixels).save(folder / f"{number}.png")


def thumbnails() -> None:
    """Images of 16 by 16 coloured dots."""
    draw = np.random.default_rng(2)
    folder = Path("thumbnails")
    folder.mkdir()
    for number in range(64):
        pixels = draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")


def enwik8() -> None:
    """As many bytes of text as x-transformers looks for, the same ones again and again."""
    some = text(400, 3).encode()
    every = some * (95_000_000 // len(some) + 1)
    Path("data/enwik8.gz").write_bytes(gzip.compress(every, compresslevel=1))


def vae() -> None:
    """A random encoder of few channels, in the folder by whose name DiT asks for it."""
    sys.modules["torch_npu"] = None  # diffusers imports it wherever it is installed
    from diffusers import AutoencoderKL

    torch.manual_seed(1)
    kinds = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
    encoder = AutoencoderKL(
        down_block_types=kinds[0],
        up_block_types=kinds[1],
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        latent_channels=4,
    )
    encoder.save_pretrained("stabilityai/sd-vae-ft-ema")


def tokenizer(path: Path, size: int) -> None:
    """A model of sentencepiece."""
    import sentencepiece

    corpus = path.with_suffix(".txt")
    corpus.write_text(text(400, 2))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(path.with_suffix("")),
        vocab_size=size,
        hard_vocab_limit=False,
        byte_fallback=True,
        minloglevel=2,
    )


def every_word(path: Path, size: int) -> None:
    """A model of sentencepiece with a piece for each of `size` numbers: of made words."""
    import sentencepiece

    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    made = ("".join(each) for each in itertools.product(syllables, repeat=3))
    said = ["Hello,", "my", "name", "is"] * 2  # what gpt-fast begins with, the commonest words
    corpus = path.with_suffix(".txt")
    corpus.write_text("\n".join([*said, *itertools.islice(made, size)]))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(path.with_suffix("")),
        model_type="word",
        vocab_size=size,
        minloglevel=2,
    )


def stories() -> None:
    """Random weights of gpt-fast's smallest model."""
    sys.path.insert(0, ".")
    from model import Transformer

    folder = Path("checkpoints/stories15M")
    folder.mkdir(parents=True)
    torch.manual_seed(1)
    torch.save(Transformer.from_name("stories15M").state_dict(), folder / "model.pth")
    every_word(folder / "tokenizer.model", 32000)


def sound() -> None:
    """Three seconds of two tones, and a random model of whisper's of two layers."""
    from dataclasses import asdict

    sys.path.insert(0, ".")
    from whisper.model import ModelDimensions, Whisper

    at = np.arange(3 * 16000) / 16000
    wave_form = 0.3 * np.sin(2 * np.pi * 440 * at) + 0.2 * np.sin(2 * np.pi * 660 * at)
    with wave.open("sound.wav", "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes((wave_form * 32767).astype("<i2").tobytes())
    torch.manual_seed(1)
    dims = ModelDimensions(80, 1500, 64, 2, 2, 51865, 448, 64, 2, 2)
    model = Whisper(dims)
    torch.nn.init.normal_(model.encoder.positional_embedding, std=0.02)
    torch.nn.init.normal_(model.decoder.positional_embedding, std=0.02)
    torch.save({"dims": asdict(dims), "model_state_dict": model.state_dict()}, "random.pt")


def llama() -> None:
    """Random weights of a Llama of two layers, under the names that its checkpoints have."""
    import sentencepiece

    tokenizer(Path("tokenizer.model"), 300)
    count = sentencepiece.SentencePieceProcessor("tokenizer.model").vocab_size()
    dim, layers, hidden = 64, 2, 256
    torch.manual_seed(1)
    shapes = {"tok_embeddings": (count, dim), "output": (count, dim), "norm": (dim,)}
    for i in range(layers):
        shapes |= {f"layers.{i}.attention.w{each}": (dim, dim) for each in "qkvo"}
        shapes |= {f"layers.{i}.feed_forward.w{each}": (hidden, dim) for each in "13"}
        shapes |= {f"layers.{i}.feed_forward.w2": (dim, hidden)}
        shapes |= {f"layers.{i}.{each}_norm": (dim,) for each in ("attention", "ffn")}
    weights = {f"{name}.weight": torch.randn(shape) * 0.05 for name, shape in shapes.items()}
    folder = Path("tiny")
    folder.mkdir()
    torch.save(
        {name: each.half() for name, each in weights.items()}, folder / "consolidated.00.pth"
    )
    params = {"dim": dim, "n_layers": layers, "n_heads": 4, "multiple_of": 256, "norm_eps": 1e-5}
    (folder / "params.json").write_text(json.dumps(params))


def qwen3() -> None:
    """A random Qwen3 of two layers, where nano-vllm looks for one below the user's folder."""
    sys.modules["torch_npu"] = None  # transformers imports it wherever it is installed
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    ends = ["<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=512, initial_alphabet=letters, special_tokens=ends, show_progress=False
    )
    made.train_from_iterator([text(400, 4)], trainer)
    folder = Path("huggingface/Qwen3-0.6B")
    told = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>")
    told.chat_template = "{% for m in messages %}<|im_start|>{{ m['content'] }}{% endfor %}"
    told.save_pretrained(folder)
    torch.manual_seed(1)
    config = Qwen3Config(
        vocab_size=len(told),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        eos_token_id=1,
    )
    Qwen3ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


MAKERS = (shakespeare, words, images, thumbnails, enwik8, vae, stories, sound, llama, qwen3)
KINDS = {each.__name__: each for each in MAKERS}

if __name__ == "__main__":
    for name in sys.argv[1:]:
        KINDS[name]()
