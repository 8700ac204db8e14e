"""Sizes of the layers whose memory is measured: for the program, and for the plan beside it."""

HIDDEN, HEADS, HEAD = 512, 4, 128
TOKENS, SEQUENCES = 256, 2
WIDE, EXPERTS, CHOSEN, NARROW, SHARED = 1536, 8, 2, 384, 768
QUERY_RANK, KV_RANK, PLAIN, ROPE = 192, 128, 96, 32
