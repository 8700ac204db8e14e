/* Memory of a chip that may be mapped at several addresses, or at none. */
#ifndef CORDEE_PHYSICAL_H
#define CORDEE_PHYSICAL_H

#include "chip.h"
#include "memory.h"

typedef struct physical {
    struct physical *next;
    int chip, file;
    uint64_t offset;
    size_t bytes;
    bool imported; /* another process's memory: its descriptor is ours, its bytes are not */
    bool released; /* the program gave the handle back */
    int users;     /* the handle and every mapping */
} physical;

physical *physical_add(int chip, int file, uint64_t offset, size_t bytes, bool imported);
physical *physical_of(aclrtDrvMemHandle handle); /* NULL: not a live handle */
void physical_let_go(physical *p);

#endif
