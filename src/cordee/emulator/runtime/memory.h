/* What the chapters on memory share. */
#ifndef CORDEE_MEMORY_H
#define CORDEE_MEMORY_H

#include "chip.h"

/* Size of the pages that a block of `size` bytes is made of. */
size_t memory_page(size_t size);

/* Whether the host has `size` bytes left; explains itself in `code` when it has not. */
bool memory_host_can(const char *function, size_t size, aclError *code);

bool memory_is_plain(const void *p); /* the start of a block from aclrtMalloc */

/* Where a pointer points, as aclrtPointerGetAttributes sorts it. */
bool host_memory_is_pinned(const void *p);

#endif
