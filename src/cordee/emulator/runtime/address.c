/* Which device addresses are taken, which hold memory, and which chip that memory is on. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#include "chip.h"

/* An unmapped gap after every range, so that running over its end is noticed. */
enum { GUARD = 4096 };

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static ranges taken;  /* addresses handed out, with their guard */
static ranges mapped; /* addresses behind which there is memory */
static uintptr_t cursor;

/* A child must find the tables whole, whatever other threads of its parent were doing. */
static void before_fork(void)
{
    pthread_rwlock_wrlock(&lock);
}

static void after_fork_in_parent(void)
{
    pthread_rwlock_unlock(&lock);
}

static void after_fork_in_child(void)
{
    pthread_rwlock_init(&lock, NULL);
}

__attribute__((constructor)) static void guard_forks(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

uintptr_t address_take(size_t bytes, size_t alignment, uintptr_t expected, int chip)
{
    uintptr_t from = space_start(), to = from + space_bytes(), found = 0;

    if (!from || bytes > space_bytes())
        return 0;
    pthread_rwlock_wrlock(&lock);
    if (expected && ranges_gap(&taken, expected, to, bytes + GUARD, alignment) == expected)
        found = expected;
    /* Going round the window keeps freed addresses unused for long: stale pointers fail. */
    if (!found && cursor)
        found = ranges_gap(&taken, cursor, to, bytes + GUARD, alignment);
    if (!found)
        found = ranges_gap(&taken, from, to, bytes + GUARD, alignment);
    if (found && !ranges_insert(&taken, (range){.start = found, .bytes = bytes + GUARD, .chip = chip}))
        found = 0;
    if (found)
        cursor = found + bytes + GUARD;
    pthread_rwlock_unlock(&lock);
    return found;
}

bool address_give_back(uintptr_t start)
{
    range *entry;

    pthread_rwlock_wrlock(&lock);
    entry = ranges_at(&taken, start);
    if (entry)
        ranges_remove(&taken, entry);
    pthread_rwlock_unlock(&lock);
    return entry != NULL;
}

bool address_taken(uintptr_t start, size_t bytes)
{
    range *entry;
    bool inside;

    pthread_rwlock_rdlock(&lock);
    entry = ranges_find(&taken, start);
    inside = entry && bytes <= entry->bytes - GUARD &&
             start - entry->start <= entry->bytes - GUARD - bytes;
    pthread_rwlock_unlock(&lock);
    return inside;
}

static bool close_shadow(uintptr_t start, size_t bytes)
{
    return mmap(space_shadow(start), bytes, PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

/* A forked child must not write the parent's device memory, and forking must stay cheap. */
static bool open_shadow(uintptr_t start, size_t bytes, int file, uint64_t offset)
{
    void *shadow = space_shadow(start);

    if (mmap(shadow, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, file,
             (off_t)offset) == MAP_FAILED)
        return false;
    madvise(shadow, bytes, MADV_DONTFORK);
    madvise(shadow, bytes, MADV_DONTDUMP);
    madvise(shadow, bytes, MADV_HUGEPAGE);
    return true;
}

bool address_map(uintptr_t start, size_t bytes, int chip, int file, uint64_t offset, void *owner)
{
    bool done = false;

    pthread_rwlock_wrlock(&lock);
    if (open_shadow(start, bytes, file, offset)) {
        done = ranges_insert(&mapped, (range){start, bytes, chip, owner, file, offset});
        if (!done)
            close_shadow(start, bytes);
    }
    pthread_rwlock_unlock(&lock);
    return done;
}

void *address_owner(uintptr_t start)
{
    range *entry;
    void *owner;

    pthread_rwlock_rdlock(&lock);
    entry = ranges_at(&mapped, start);
    owner = entry ? entry->owner : NULL;
    pthread_rwlock_unlock(&lock);
    return owner;
}

void *address_unmap(uintptr_t start, size_t *bytes, int *chip)
{
    void *owner = NULL;
    range *entry;

    pthread_rwlock_wrlock(&lock);
    entry = ranges_at(&mapped, start);
    if (entry) {
        owner = entry->owner;
        *bytes = entry->bytes;
        *chip = entry->chip;
        close_shadow(start, entry->bytes);
        ranges_remove(&mapped, entry);
    }
    pthread_rwlock_unlock(&lock);
    return owner;
}

int address_chip(const void *p)
{
    range *entry;
    int chip;

    pthread_rwlock_rdlock(&lock);
    entry = ranges_find(&mapped, (uintptr_t)p);
    chip = entry ? entry->chip : -1;
    pthread_rwlock_unlock(&lock);
    return chip;
}

bool address_range(const void *p, uintptr_t *start, size_t *bytes)
{
    range *entry;

    pthread_rwlock_rdlock(&lock);
    entry = ranges_find(&mapped, (uintptr_t)p);
    if (entry) {
        *start = entry->start;
        *bytes = entry->bytes;
    }
    pthread_rwlock_unlock(&lock);
    return entry != NULL;
}

bool address_choose(int chip, uint64_t number, uintptr_t *start, size_t *bytes)
{
    const range *found = NULL;
    uint64_t seen = 0;

    pthread_rwlock_rdlock(&lock);
    for (size_t i = 0; i < mapped.count; i++) {
        const range *entry = &mapped.item[i];
        if (entry->chip != chip)
            continue;
        if (number == seen++ || (number == MACHINE_LARGEST && (!found || entry->bytes > found->bytes)))
            found = entry;
    }
    if (found) {
        *start = found->start;
        *bytes = found->bytes;
    }
    pthread_rwlock_unlock(&lock);
    return found != NULL;
}

void address_hold(void)
{
    pthread_rwlock_rdlock(&lock);
}

void address_let_go(void)
{
    pthread_rwlock_unlock(&lock);
}

void address_settle(void)
{
    pthread_rwlock_wrlock(&lock);
    pthread_rwlock_unlock(&lock);
}

bool address_covers(const void *p, size_t bytes)
{
    uintptr_t at = (uintptr_t)p, end = at + bytes;

    if (end < at)
        return false;
    while (at < end) {
        const range *entry = ranges_find(&mapped, at);
        if (!entry)
            return false;
        at = entry->start + entry->bytes;
    }
    return true;
}

bool address_locate(const void *p, size_t bytes, int *file, uint64_t *offset)
{
    uintptr_t at = (uintptr_t)p, end = at + bytes;
    bool found = false;

    pthread_rwlock_rdlock(&lock);
    for (bool first = true; at < end || first; first = false) {
        const range *entry = ranges_find(&mapped, at);
        uint64_t place = entry ? entry->offset + (at - entry->start) : 0;
        found = entry && (first || (entry->file == *file && place == *offset + (at - (uintptr_t)p)));
        if (!found)
            break;
        if (first) {
            *file = entry->file;
            *offset = place;
        }
        at = entry->start + entry->bytes;
    }
    pthread_rwlock_unlock(&lock);
    return found;
}
