"""A model's tokens: text to ids, and ids to the bytes that each of them stands for."""

import json
from functools import cached_property
from pathlib import Path

from tokenizers import Tokenizer

from cordee.core.errors import UsageError


class Vocabulary:
    """The tokenizer of a model folder."""

    def __init__(self, folder: Path) -> None:
        """Read tokenizer.json. Raises `UsageError` where it is missing or none."""
        self.file = folder / "tokenizer.json"
        if not self.file.exists():
            raise UsageError(
                f"{folder}: has no tokenizer.json; transformers writes one for most models: "
                "AutoTokenizer.from_pretrained(...).save_pretrained(...)"
            )
        try:
            self.tokenizer = Tokenizer.from_file(str(self.file))
            described = json.loads(self.file.read_text("utf-8"))
        except Exception as error:  # the library raises no other kind
            raise UsageError(f"{self.file}: is no tokenizer: {error}") from error
        self._decoder = _Decoder(described.get("decoder"))
        self._special = frozenset(
            token["id"] for token in described.get("added_tokens", ()) if token.get("special")
        )
        self._bytes: dict[int, bytes] = {}
        self.size: int = self.tokenizer.get_vocab_size()
        self.end_ids = _end_ids(folder, self.tokenizer)
        self.begins_with = _bos(folder, self.tokenizer)

    def encode(self, text: str, special: bool = True) -> list[int]:
        """The ids of a text; with `special`, those too that the tokenizer puts around it."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=special).ids
        return ids

    def decode(self, ids: list[int]) -> str:
        """The text of ids, special tokens left out."""
        whole = b"".join(self.token_bytes(i) for i in ids)
        return self._decoder.begin(whole).decode("utf-8", "replace")

    def token_bytes(self, token: int, special: bool = False) -> bytes:
        """What a token adds to a text; nothing for a special token unless asked."""
        if token in self._special and not special:
            return b""
        found = self._bytes.get(token)
        if found is None:
            name = self.tokenizer.id_to_token(token)
            is_text = token in self._special or token in self._added
            found = (
                (name or "").encode() if name is None or is_text else self._decoder.decoded(name)
            )
            self._bytes[token] = found
        return found

    def name(self, token: int) -> str:
        """A token as it is shown in lists of logarithms."""
        return self.token_bytes(token, special=True).decode("utf-8", "replace")

    @cached_property
    def _added(self) -> frozenset[int]:
        return frozenset(self.tokenizer.get_added_tokens_decoder())


class _Decoder:
    """How names of tokens become bytes: byte-level BPE, or SentencePiece with bytes as <0x0A>."""

    def __init__(self, described: object) -> None:
        kinds = {part.get("type"): part for part in _parts(described)}
        self._byte_level = "ByteLevel" in kinds
        # SentencePiece begins a text with a space that is none.
        self._strips = "Strip" in kinds or (
            "Metaspace" in kinds and kinds["Metaspace"].get("prepend_scheme") != "never"
        )

    def decoded(self, name: str) -> bytes:
        if self._byte_level:
            return b"".join(_BYTES.get(letter, letter.encode()) for letter in name)
        if len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
            return bytes([int(name[3:5], 16)])
        return name.replace("\u2581", " ").encode()

    def begin(self, text: bytes) -> bytes:
        return text.removeprefix(b" ") if self._strips else text


def _parts(described: object) -> list[dict[str, object]]:
    if not isinstance(described, dict):
        return []
    inner = described.get("decoders")
    if isinstance(inner, list):
        return [part for one in inner for part in _parts(one)]
    return [described]


def _byte_letters() -> dict[str, int]:
    """The letters by which byte-level BPE writes bytes (GPT-2, encoder.py, bytes_to_unicode)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {chr(byte): byte for byte in plain}
    others = (byte for byte in range(256) if byte not in plain)
    return letters | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTES = {letter: bytes([byte]) for letter, byte in _byte_letters().items()}


def read_json(file: Path) -> dict[str, object]:
    """A JSON object, empty where there is no such file. Raises `UsageError` where it is none."""
    if not file.exists():
        return {}
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{file}: is not a JSON object")
    return found


def _end_ids(folder: Path, tokenizer: Tokenizer) -> frozenset[int]:
    """Generation stops at these: of generation_config.json, config.json and the tokenizer's own."""
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        given = read_json(folder / name).get("eos_token_id")
        ids = given if isinstance(given, list) else [given]
        found |= {i for i in ids if isinstance(i, int)}
        if found:
            break
    token = content_of(read_json(folder / "tokenizer_config.json").get("eos_token"))
    own = tokenizer.token_to_id(token) if token else None
    return frozenset(found | ({own} if own is not None else set()))


def _bos(folder: Path, tokenizer: Tokenizer) -> str:
    return content_of(read_json(folder / "tokenizer_config.json").get("bos_token")) or ""


def content_of(token: object) -> str | None:
    """The text of a token in a configuration: plain, or an object with it."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None
