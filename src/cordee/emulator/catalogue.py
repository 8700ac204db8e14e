"""The catalogue of chips as a C header, for processes that run without `cordee run`."""

from functools import cache

from cordee.hw.chip import Chip, chips

HEAD = """\
/* Generated from the catalogue of chips. */
#include <stdint.h>

typedef struct catalogue_chip {
    const char *name, *soc_name;
    uint64_t memory_bytes, l2_bytes;
    uint32_t cube_cores, vector_cores, operator_timeout_s;
} catalogue_chip;

static const catalogue_chip catalogue[] = {
"""


@cache
def catalogue_header() -> str:
    """One entry per name and alias; 0 where the catalogue has no figure."""
    entries = [_entry(name, chip) for chip in chips() for name in (chip.soc_name, *chip.aliases)]
    return HEAD + "".join(entries) + "};\n"


def _entry(name: str, chip: Chip) -> str:
    return (
        f'    {{"{name}", "{chip.soc_name}", {chip.usable_bytes}u, {chip.l2_bytes or 0}u, '
        f"{chip.cube_cores}u, {chip.vector_cores}u, {chip.operator_timeout_s}u}},\n"
    )
