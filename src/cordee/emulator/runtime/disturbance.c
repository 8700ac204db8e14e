/* Chips that go on working, but not as they should: what operators must know of it. */
#include <string.h>

#include "cordee.h"
#include "stream.h"

static machine_chip *chip_under(aclrtStream handle)
{
    const stream *s = handle;

    return &machine_of_process()->chips[s->chip];
}

CORDEE_API unsigned cordee_disturbances(aclrtStream handle)
{
    const stream *s = handle;
    machine_chip *chip = chip_under(handle);
    unsigned found = streams_aborted(s->chip) ? CORDEE_ABORTED : 0;

    if (atomic_load_explicit(&chip->slow_percent, memory_order_relaxed) != 0)
        found |= CORDEE_SLOW;
    if (atomic_load_explicit(&chip->flip, memory_order_relaxed) != 0)
        found |= CORDEE_WRONG;
    return found;
}

CORDEE_API void cordee_resume(aclrtStream handle)
{
    const stream *s = handle;

    machine_calm(s->chip, false);
}

CORDEE_API unsigned cordee_slow_percent(aclrtStream handle)
{
    return atomic_load(&chip_under(handle)->slow_percent);
}

CORDEE_API unsigned cordee_flip(aclrtStream handle, const char *operator_name)
{
    const machine_chip *chip = chip_under(handle);
    unsigned flip = atomic_load(&chip->flip);
    size_t length = strnlen(chip->flip_operator, sizeof chip->flip_operator);
    bool begins = flip != 0 && strncmp(chip->flip_operator, operator_name, length) == 0;

    return begins && (operator_name[length] == '\0' || operator_name[length] == '.') ? flip : 0;
}
