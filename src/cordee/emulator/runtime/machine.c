/* The virtual machine this process runs on: its chips, and who uses how much of them.
 *
 * CORDEE_MACHINE names the state that `cordee run` shares among processes. Without it the process
 * gets a machine of its own (shared with what it forks), made of CORDEE_CHIPS chips of the kind
 * CORDEE_CHIP. Nothing is kept in any file system: when the last user is gone, so is the machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalogue.h"
#include "chip.h"
#include "process.h"

enum { REAPED = -1 }; /* in place of the pid: somebody is clearing the slot */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static machine *shared;
static char trouble[256]; /* why there is no machine */

static pthread_mutex_t slot_lock = PTHREAD_MUTEX_INITIALIZER;
static machine_slot *own_slot;
static _Atomic uint64_t peak_bytes[MACHINE_CHIPS]; /* of this process */
static atomic_bool calmed[MACHINE_CHIPS];

/* A fork inherits mappings but no threads, so a child may only use chips its parent did not. */
static atomic_bool used_device, forked;

static void after_fork_in_child(void)
{
    own_slot = NULL;
    atomic_store(&forked, atomic_load(&used_device));
}

bool machine_forked(void)
{
    return atomic_load(&forked);
}

void machine_used_device(void)
{
    atomic_store(&used_device, true);
}

static const catalogue_chip *catalogue_find(const char *name)
{
    for (size_t i = 0; i < sizeof catalogue / sizeof *catalogue; i++)
        if (strcasecmp(catalogue[i].name, name) == 0)
            return &catalogue[i];
    return NULL;
}

static machine *make_private(void)
{
    const char *name = getenv("CORDEE_CHIP"), *number = getenv("CORDEE_CHIPS");
    const catalogue_chip *kind = catalogue_find(name ? name : "Ascend910B3");
    char *end = NULL;
    long count = number ? strtol(number, &end, 10) : 1;
    machine *made;

    if (!kind || count < 0 || count > MACHINE_CHIPS || (number && (end == number || *end))) {
        snprintf(trouble, sizeof trouble, "CORDEE_CHIP=%s CORDEE_CHIPS=%s: %s", name ? name : "",
                 number ? number : "", kind ? "not 0 to 64 chips" : "no such chip in the catalogue");
        return NULL;
    }
    made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (made == MAP_FAILED) {
        snprintf(trouble, sizeof trouble, "no memory for a machine: %s", strerror(errno));
        return NULL;
    }
    made->magic = MACHINE_MAGIC; /* field by field: what is left zero takes no memory */
    made->version = MACHINE_VERSION;
    made->size_bytes = sizeof *made;
    made->chip_count = (uint32_t)count;
    made->slot_count = MACHINE_SLOTS;
    made->node_count = 1;
    snprintf(made->soc_name, sizeof made->soc_name, "%s", kind->soc_name);
    for (long i = 0; i < count; i++) {
        made->chips[i].memory_bytes = kind->memory_bytes;
        made->chips[i].l2_bytes = kind->l2_bytes;
        made->chips[i].cube_cores = kind->cube_cores;
        made->chips[i].vector_cores = kind->vector_cores;
    }
    return made;
}

static machine *open_shared(const char *path)
{
    struct stat status;
    machine *found = MAP_FAILED;
    int file = open(path, O_RDWR | O_CLOEXEC);

    if (file >= 0 && fstat(file, &status) == 0 && status.st_size >= (off_t)sizeof *found)
        found = mmap(NULL, sizeof *found, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0)
        close(file);
    if (found == MAP_FAILED) {
        snprintf(trouble, sizeof trouble,
                 "CORDEE_MACHINE=%s cannot be opened: has `cordee run` ended?", path);
        return NULL;
    }
    if (found->magic != MACHINE_MAGIC || found->version != MACHINE_VERSION ||
        found->chip_count > MACHINE_CHIPS) {
        snprintf(trouble, sizeof trouble,
                 "CORDEE_MACHINE=%s is of another version of cordee", path);
        munmap(found, sizeof *found);
        return NULL;
    }
    return found;
}

static void open_machine(void)
{
    const char *path = getenv("CORDEE_MACHINE");

    shared = path ? open_shared(path) : make_private();
    if (!shared)
        fprintf(stderr, "cordee: %s\n", trouble);
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

machine *machine_of_process(void)
{
    pthread_once(&once, open_machine);
    return shared;
}

aclError machine_state(void)
{
    return machine_of_process() ? ACL_SUCCESS : chip_fail(ACL_ERROR_RT_NO_DEVICE, "%s", trouble);
}

uint64_t machine_operator_timeout_us(void)
{
    const machine *m = machine_of_process();
    const catalogue_chip *kind = m ? catalogue_find(m->soc_name) : NULL;

    return (kind ? kind : catalogue)->operator_timeout_s * 1000000ull;
}

bool machine_memory_error(aclError code)
{
    return code == ACL_ERROR_RT_HBM_MULTI_BIT_ECC_ERROR || code == ACL_ERROR_RT_DEVICE_MEM_ERROR;
}

void machine_calm(int chip, bool calm)
{
    uint32_t code = atomic_load(&shared->chips[chip].health);

    atomic_store(&calmed[chip], calm && machine_memory_error((aclError)code));
}

aclError machine_health(int chip)
{
    aclError code = (aclError)atomic_load_explicit(&shared->chips[chip].health, memory_order_relaxed);

    if (code == ACL_SUCCESS || (machine_memory_error(code) && atomic_load(&calmed[chip])))
        return ACL_SUCCESS;
    return chip_fail(code, machine_memory_error(code) ? "memory of chip %d is bad"
                                                      : "chip %d is lost", chip);
}

static void clear(machine_slot *slot)
{
    atomic_store(&slot->start_ticks, 0);
    for (int chip = 0; chip < MACHINE_CHIPS; chip++)
        atomic_store(&slot->used_bytes[chip], 0);
}

/* Claim a free slot. Caller holds slot_lock. */
static machine_slot *take_slot(void)
{
    for (uint32_t i = 0; i < MACHINE_SLOTS; i++) {
        machine_slot *slot = &shared->slots[i];
        int32_t nobody = 0;

        if (!atomic_compare_exchange_strong(&slot->pid, &nobody, getpid()))
            continue;
        process_command(slot->command, sizeof slot->command);
        atomic_store(&slot->start_ticks, process_start_ticks(getpid()));
        return slot;
    }
    return NULL;
}

/* Free the slots of processes that were killed: their memory died with them. */
static void reap(void)
{
    for (uint32_t i = 0; i < MACHINE_SLOTS; i++) {
        machine_slot *slot = &shared->slots[i];
        int32_t pid = atomic_load(&slot->pid);
        uint64_t ticks = atomic_load(&slot->start_ticks);

        if (pid <= 0 || process_lives(pid, ticks) ||
            !atomic_compare_exchange_strong(&slot->pid, &pid, REAPED))
            continue;
        clear(slot);
        atomic_store(&slot->pid, 0);
    }
}

static machine_slot *slot_of_process(void)
{
    pthread_mutex_lock(&slot_lock);
    if (!own_slot)
        own_slot = take_slot();
    if (!own_slot) {
        reap();
        own_slot = take_slot();
    }
    pthread_mutex_unlock(&slot_lock);
    return own_slot;
}

static uint64_t used_by_all(int chip)
{
    uint64_t used = 0;

    for (uint32_t i = 0; i < MACHINE_SLOTS; i++)
        if (atomic_load(&shared->slots[i].pid) > 0)
            used += atomic_load(&shared->slots[i].used_bytes[chip]);
    return used;
}

uint64_t machine_used(int chip, bool own)
{
    if (own)
        return own_slot ? atomic_load(&own_slot->used_bytes[chip]) : 0;
    reap();
    return used_by_all(chip);
}

static void note_peak(int chip, uint64_t used)
{
    uint64_t peak = atomic_load(&peak_bytes[chip]);

    while (used > peak && !atomic_compare_exchange_weak(&peak_bytes[chip], &peak, used))
        ;
}

uint64_t machine_peak(int chip)
{
    return atomic_load(&peak_bytes[chip]);
}

/* Add first, look second: two processes may both be refused the last bytes, never both get them. */
aclError machine_claim(int chip, uint64_t bytes)
{
    uint64_t capacity = shared->chips[chip].memory_bytes;
    machine_slot *slot = slot_of_process();

    if (!slot)
        return chip_fail(ACL_ERROR_RT_RESOURCE_ALLOC_FAIL,
                         "more than %d processes on one machine", MACHINE_SLOTS);
    atomic_fetch_add(&slot->used_bytes[chip], bytes);
    if (used_by_all(chip) > capacity)
        reap();
    if (used_by_all(chip) > capacity) {
        atomic_fetch_sub(&slot->used_bytes[chip], bytes);
        return chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION,
                         "chip %d is out of memory: %lu bytes wanted, %lu of %lu in use", chip,
                         (unsigned long)bytes, (unsigned long)used_by_all(chip),
                         (unsigned long)capacity);
    }
    note_peak(chip, atomic_load(&slot->used_bytes[chip]));
    return ACL_SUCCESS;
}

void machine_release(int chip, uint64_t bytes)
{
    if (own_slot)
        atomic_fetch_sub(&own_slot->used_bytes[chip], bytes);
}

/* For Python: the machine of this process, and the chip behind a device number. */
CORDEE_API machine *cordee_machine(void)
{
    return machine_of_process();
}

CORDEE_API int cordee_chip_of(int32_t device)
{
    return machine_chip_of(device);
}

/* Sizes and offsets of machine.h, for machine.py to be checked against. */
CORDEE_API void cordee_machine_layout(uint64_t *sizes, size_t count)
{
    const uint64_t all[] = {sizeof(machine), offsetof(machine, soc_name), offsetof(machine, chips),
                            sizeof(machine_chip), offsetof(machine_chip, health),
                            offsetof(machine_chip, hung), offsetof(machine_chip, flip_operator),
                            offsetof(machine, slots), sizeof(machine_slot),
                            offsetof(machine_slot, start_ticks), offsetof(machine_slot, command),
                            offsetof(machine_slot, used_bytes), offsetof(machine, paths),
                            offsetof(machine, links), sizeof(machine_link),
                            offsetof(machine_link, down), offsetof(machine_link, bytes),
                            offsetof(machine, faults)};

    for (size_t i = 0; i < count && i < sizeof all / sizeof *all; i++)
        sizes[i] = all[i];
}
