/* Shared state of one virtual machine, as every process that uses it maps it. */
#ifndef CORDEE_MACHINE_H
#define CORDEE_MACHINE_H

#include <stdatomic.h>
#include <stdint.h>

/* machine.py repeats this layout; a test compares the two through cordee_machine_layout(). */
#define MACHINE_MAGIC 0x454544524f43UL /* "CORDEE" */
#define MACHINE_VERSION 1u

enum { MACHINE_CHIPS = 64, MACHINE_SLOTS = 256, MACHINE_NAME = 32, MACHINE_COMMAND = 32 };

typedef struct machine_chip {
    uint64_t memory_bytes;
    uint64_t l2_bytes; /* 0: the catalogue has no sourced figure */
    uint32_t cube_cores;
    uint32_t vector_cores;
    _Atomic uint32_t health; /* 0, or the aclError every call on this chip answers with */
    uint32_t reserved;
    _Atomic uint64_t fault_address; /* offset of the damaged bytes in the chip's memory */
    _Atomic uint64_t fault_bytes;
} machine_chip;

/* One process that uses a chip. Free when pid is 0; dead when that process no longer runs. */
typedef struct machine_slot {
    _Atomic int32_t pid;
    uint32_t reserved;
    _Atomic uint64_t start_ticks; /* /proc/<pid>/stat field 22; 0 while the slot is being filled */
    char command[MACHINE_COMMAND];
    _Atomic uint64_t used_bytes[MACHINE_CHIPS];
} machine_slot;

typedef struct machine {
    uint64_t magic;
    uint32_t version;
    uint32_t size_bytes;
    uint32_t chip_count;
    uint32_t slot_count;
    char soc_name[MACHINE_NAME];
    machine_chip chips[MACHINE_CHIPS];
    machine_slot slots[MACHINE_SLOTS];
} machine;

#endif
