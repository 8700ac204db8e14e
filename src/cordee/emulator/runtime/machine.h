/* Shared state of one virtual machine, as every process that uses it maps it. */
#ifndef CORDEE_MACHINE_H
#define CORDEE_MACHINE_H

#include <stdatomic.h>
#include <stdint.h>

/* machine.py repeats this layout; a test compares the two through cordee_machine_layout(). */
#define MACHINE_MAGIC 0x454544524f43UL /* "CORDEE" */
#define MACHINE_VERSION 2u

enum {
    MACHINE_CHIPS = 64,
    MACHINE_SLOTS = 256,
    MACHINE_LINKS = 8192, /* a full mesh of all chips and the ports of each fit */
    MACHINE_HOPS = 4,     /* links that a transfer takes, at most */
    MACHINE_FAULTS = 64,
    MACHINE_NAME = 32,
    MACHINE_COMMAND = 32,
    MACHINE_OPERATOR = 64,
    MACHINE_FAULT_BYTES = 256
};

#define MACHINE_ANY ((uint64_t)1 << 63)
#define MACHINE_LARGEST UINT64_MAX

typedef struct machine_chip {
    uint64_t memory_bytes;
    uint64_t l2_bytes; /* 0: the catalogue has no sourced figure */
    uint32_t cube_cores;
    uint32_t vector_cores;
    _Atomic uint32_t health; /* 0, or the aclError every call on this chip answers with */
    uint32_t node;           /* the host that it is in */
    /* The damaged bytes: an offset in the chip's memory. With MACHINE_ANY the chip's process is still
     * to choose an allocation: by its number in order of address, or MACHINE_LARGEST. */
    _Atomic uint64_t fault_address;
    _Atomic uint64_t fault_bytes; /* 0: none */
    _Atomic uint32_t hung;         /* 1: takes work and does not end it */
    _Atomic uint32_t slow_percent; /* operators take so much of their time; 0 is 100 */
    _Atomic uint64_t step;         /* steps that optimizers on it have done */
    _Atomic uint32_t flip;         /* 0, or 1 + the bit that results of flip_operator get wrong */
    uint32_t reserved;
    char flip_operator[MACHINE_OPERATOR];
} machine_chip;

/* One direction of a link. Times are of the monotonic clock. */
typedef struct machine_link {
    char name[MACHINE_NAME];
    double bytes_per_s;              /* 0: nobody knows, and it is not paced */
    double latency_s;
    _Atomic uint32_t down;           /* 1: nothing passes */
    _Atomic uint32_t slow_percent;   /* transfers take so much of their time; 0 is 100 */
    _Atomic uint32_t loss_per_million; /* of packets, which are then sent again */
    _Atomic uint32_t flap_up_ms, flap_down_ms; /* both 0: it does not flap */
    uint32_t reserved;
    _Atomic uint64_t flap_since_ns;
    _Atomic uint64_t bytes, transfers, errors; /* that passed; packets lost */
    _Atomic uint64_t busy_until_ns;  /* where it is paced */
} machine_link;

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
    uint32_t node_count;
    uint32_t link_count;
    double pace; /* seconds of ours for a second of its links; 0: as fast as the host */
    char soc_name[MACHINE_NAME];
    char topology[MACHINE_NAME];
    machine_chip chips[MACHINE_CHIPS];
    machine_slot slots[MACHINE_SLOTS];
    /* Links from the row's chip to the column's, in order; number + 1, and 0 ends the path. */
    uint16_t paths[MACHINE_CHIPS][MACHINE_CHIPS][MACHINE_HOPS];
    machine_link links[MACHINE_LINKS];
    uint8_t faults[MACHINE_FAULTS][MACHINE_FAULT_BYTES]; /* faults.py's */
} machine;

#endif
