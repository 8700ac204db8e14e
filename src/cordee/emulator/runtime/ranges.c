/* Sorted sets of address ranges. The caller holds whatever lock guards the set. */
#include <stdlib.h>
#include <string.h>

#include "chip.h"

/* Index of the first range that ends after `address`. */
static size_t lower(const ranges *set, uintptr_t address)
{
    size_t low = 0, high = set->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (set->item[middle].start + set->item[middle].bytes > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

range *ranges_find(const ranges *set, uintptr_t address)
{
    size_t i = lower(set, address);

    return i < set->count && set->item[i].start <= address ? &set->item[i] : NULL;
}

range *ranges_at(const ranges *set, uintptr_t start)
{
    range *found = ranges_find(set, start);

    return found && found->start == start ? found : NULL;
}

bool ranges_insert(ranges *set, range value)
{
    size_t i = lower(set, value.start);

    if (set->count == set->room) {
        size_t room = set->room ? 2 * set->room : 64;
        range *item = realloc(set->item, room * sizeof *item);
        if (!item)
            return false;
        set->item = item;
        set->room = room;
    }
    memmove(set->item + i + 1, set->item + i, (set->count - i) * sizeof *set->item);
    set->item[i] = value;
    set->count++;
    return true;
}

void ranges_remove(ranges *set, range *entry)
{
    size_t i = (size_t)(entry - set->item);

    set->count--;
    memmove(set->item + i, set->item + i + 1, (set->count - i) * sizeof *set->item);
}

static uintptr_t round_up(uintptr_t value, size_t alignment)
{
    return (value + alignment - 1) / alignment * alignment;
}

uintptr_t ranges_gap(const ranges *set, uintptr_t from, uintptr_t to, size_t bytes, size_t alignment)
{
    uintptr_t start = round_up(from, alignment);

    for (size_t i = lower(set, start); i < set->count; i++) {
        const range *next = &set->item[i];
        if (next->start > start && next->start - start >= bytes)
            break;
        start = round_up(next->start + next->bytes, alignment);
    }
    return start < to && to - start >= bytes ? start : 0;
}
