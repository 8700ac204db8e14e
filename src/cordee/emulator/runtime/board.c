/* What a process lets others see: a memory file with its exported memory and events.
 *
 * Others find it under /proc/<pid>/fd, and the exported memory through the descriptors it names,
 * so sharing needs no name in any file system and ends with the process that shares.
 */
#include "board.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NAME "cordee-board"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static board *own;
static int32_t own_pid; /* a fork must not write on its parent's board */
static _Atomic int live_exports;
static bool mark_used[BOARD_MARKS];
static int next_mark; /* round and round: a freed mark is left alone as long as possible */

/* Caller holds the lock. */
static board *make(void)
{
    int file = memfd_create(NAME, MFD_CLOEXEC);
    board *made = MAP_FAILED;

    if (file >= 0 && ftruncate(file, sizeof *made) == 0)
        made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (made == MAP_FAILED) {
        if (file >= 0)
            close(file);
        return NULL;
    }
    return made; /* the descriptor stays open: it is how others find the board */
}

board *board_own(void)
{
    pthread_mutex_lock(&lock);
    if (!own || own_pid != getpid()) {
        own = make();
        own_pid = getpid();
        memset(mark_used, 0, sizeof mark_used);
    }
    pthread_mutex_unlock(&lock);
    return own;
}

int board_file(int32_t pid, int32_t file)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, file);
    return open(path, O_RDWR | O_CLOEXEC);
}

/* Number of the board's descriptor in another process, the newest if it was forked; -1: none. */
static int find(int32_t pid)
{
    char path[64], link[64 + 256], target[64];
    struct dirent *entry;
    int found = -1;
    DIR *folder;

    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    folder = opendir(path);
    while (folder && (entry = readdir(folder))) {
        snprintf(link, sizeof link, "%s/%s", path, entry->d_name);
        ssize_t length = readlink(link, target, sizeof target - 1);
        target[length < 0 ? 0 : length] = '\0';
        if (strncmp(target, "/memfd:" NAME, strlen("/memfd:" NAME)) == 0 &&
            atoi(entry->d_name) > found)
            found = atoi(entry->d_name);
    }
    if (folder)
        closedir(folder);
    return found;
}

board *board_open(int32_t pid)
{
    int number = find(pid), file = number < 0 ? -1 : board_file(pid, number);
    board *opened = MAP_FAILED;

    if (file >= 0) {
        opened = mmap(NULL, sizeof *opened, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
    }
    return opened == MAP_FAILED ? NULL : opened;
}

void board_close(board *b)
{
    if (b)
        munmap(b, sizeof *b);
}

int board_add_export(int chip, int file, uint64_t offset, uint64_t bytes, bool everyone)
{
    board *b = board_own();

    for (int i = 0; b && i < BOARD_EXPORTS; i++) {
        board_export *e = &b->exports[i];
        uint32_t nobody = 0;
        if (!atomic_compare_exchange_strong(&e->live, &nobody, 1))
            continue;
        e->chip = chip;
        e->file = file;
        e->offset = offset;
        e->bytes = bytes;
        atomic_store(&e->pid_count, 0);
        atomic_store(&e->everyone, everyone);
        atomic_fetch_add(&live_exports, 1);
        return i;
    }
    return -1;
}

bool board_allow(int number, const int32_t *pids, size_t count)
{
    board_export *e = &board_own()->exports[number];
    uint32_t already = atomic_load(&e->pid_count);

    if (count > BOARD_PIDS - already)
        return false;
    memcpy(e->pids + already, pids, count * sizeof *pids);
    atomic_store(&e->pid_count, already + (uint32_t)count);
    return true;
}

void board_remove_export(int number)
{
    if (atomic_exchange(&board_own()->exports[number].live, 0) != 0)
        atomic_fetch_sub(&live_exports, 1);
}

void board_forget(int file, uint64_t offset, uint64_t bytes)
{
    if (!own || own_pid != getpid() || atomic_load(&live_exports) == 0)
        return;
    for (int i = 0; i < BOARD_EXPORTS; i++) {
        board_export *e = &own->exports[i];
        if (atomic_load(&e->live) && e->file == file && e->offset < offset + bytes &&
            offset < e->offset + e->bytes)
            board_remove_export(i);
    }
}

bool board_may_map(const board_export *e, int32_t pid)
{
    if (atomic_load(&e->everyone))
        return true;
    for (uint32_t i = 0; i < atomic_load(&e->pid_count); i++)
        if (e->pids[i] == pid)
            return true;
    return false;
}

int board_add_mark(void)
{
    board *b = board_own();
    int number = -1;

    pthread_mutex_lock(&lock);
    for (int tried = 0; b && tried < BOARD_MARKS && number < 0; tried++) {
        if (!mark_used[next_mark])
            number = next_mark;
        next_mark = (next_mark + 1) % BOARD_MARKS;
    }
    if (number >= 0) {
        mark_used[number] = true;
        mark_clear(&b->marks[number]);
        atomic_store(&b->marks[number].owner, getpid());
    }
    pthread_mutex_unlock(&lock);
    return number;
}

void board_remove_mark(int number)
{
    /* Nobody will record it any more: let those who still wait go on. */
    mark_reach(&board_own()->marks[number], UINT64_MAX, ACL_SUCCESS);
    pthread_mutex_lock(&lock);
    mark_used[number] = false;
    pthread_mutex_unlock(&lock);
}
