/* Sharing memory and events among processes.
 *
 * A key, or handle, names the process that shares and the entry of its board; who gets one opens
 * the same memory file and maps the same bytes.
 *
 * Follows: CANN "Runtime API", chapters Memory Management (IPC) and Event Management (IPC).
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "board.h"
#include "device.h"
#include "physical.h"
#include "process.h"

enum { PAGE = 4096, KEY = 65 };

/* Memory of another process mapped by its key, until aclrtIpcMemClose. */
typedef struct import {
    struct import *next;
    char key[KEY];
    uintptr_t start;
    int file;
} import;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static import *imports;

static bool parse_key(const char *key, int32_t *pid, int *number)
{
    unsigned long ticks;

    return key && sscanf(key, "cordee-%d-%lu-%d", pid, &ticks, number) == 3 && *number >= 0 &&
           *number < BOARD_EXPORTS && process_lives(*pid, ticks);
}

aclError aclrtIpcMemGetExportKey(void *p, size_t size, char *key, size_t room, uint64_t flags)
{
    uintptr_t start;
    size_t bytes;
    int number, chip = address_chip(p);

    if (!key || room < KEY)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtIpcMemGetExportKey: a key needs %d "
                         "bytes", KEY);
    if (chip < 0 || !address_range(p, &start, &bytes) || !memory_is_plain((void *)start) ||
        (uintptr_t)p % PAGE != 0 || size > bytes - ((uintptr_t)p - start))
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtIpcMemGetExportKey: %p and %zu bytes "
                         "are not of one block from aclrtMalloc", p, size);
    number = board_add_export(chip, space_file(chip), (uintptr_t)p - space_start(),
                              (size + PAGE - 1) / PAGE * PAGE,
                              flags & ACL_RT_IPC_MEM_EXPORT_FLAG_DISABLE_PID_VALIDATION);
    if (number < 0)
        return chip_fail(ACL_ERROR_RT_IPC_ERROR, "aclrtIpcMemGetExportKey: more than %d pieces of "
                         "memory exported", BOARD_EXPORTS);
    memset(key, 0, room);
    snprintf(key, room, "cordee-%d-%lu-%d", getpid(),
             (unsigned long)process_start_ticks(getpid()), number);
    return ACL_SUCCESS;
}

aclError aclrtIpcMemSetImportPid(const char *key, int32_t *pids, size_t count)
{
    int32_t pid;
    int number;

    if (!parse_key(key, &pid, &number) || pid != getpid() || !pids)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtIpcMemSetImportPid: not a key of this "
                         "process");
    return board_allow(number, pids, count)
               ? ACL_SUCCESS
               : chip_fail(ACL_ERROR_RT_OVER_LIMIT, "aclrtIpcMemSetImportPid: more than %d "
                           "processes", BOARD_PIDS);
}

/* Copy entry `number` of a process's board, if this process may map it, and open its memory. */
static aclError look_up(const char *function, int32_t pid, int number, board_export *found,
                        int *file)
{
    board *b = board_open(pid);
    bool allowed = false;

    if (b) {
        const board_export *e = &b->exports[number];
        allowed = atomic_load(&e->live) && board_may_map(e, getpid());
        memcpy(found, e, sizeof *found);
        board_close(b);
    }
    *file = allowed ? board_file(pid, found->file) : -1;
    if (*file >= 0)
        return ACL_SUCCESS;
    return chip_fail(ACL_ERROR_RT_NO_PERMISSION, "%s: process %d does not share this memory with "
                     "process %d, or has ended", function, pid, getpid());
}

static aclError map_import(import *made, const board_export *e, uint64_t flags)
{
    context *c;
    aclError code = context_need("aclrtIpcMemImportByKey", &c);

    if (code != ACL_SUCCESS)
        return code;
    if (c->chip != e->chip && !(flags & ACL_RT_IPC_MEM_IMPORT_FLAG_ENABLE_PEER_ACCESS))
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtIpcMemImportByKey: the memory is on "
                         "chip %d, this thread uses %d, and peer access was not asked for",
                         e->chip, c->chip);
    made->start = address_take(e->bytes, memory_page(e->bytes), 0, e->chip);
    if (made->start && address_map(made->start, e->bytes, e->chip, made->file, e->offset, made))
        return ACL_SUCCESS;
    if (made->start)
        address_give_back(made->start);
    return chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "aclrtIpcMemImportByKey: the host refuses");
}

aclError aclrtIpcMemImportByKey(void **p, const char *key, uint64_t flags)
{
    board_export found;
    int32_t pid;
    int number;
    aclError code;
    import *made;

    if (!p || !parse_key(key, &pid, &number))
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtIpcMemImportByKey: not a key, or its "
                         "process has ended");
    made = calloc(1, sizeof *made);
    if (!made)
        return chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "aclrtIpcMemImportByKey");
    snprintf(made->key, sizeof made->key, "%s", key);
    code = look_up("aclrtIpcMemImportByKey", pid, number, &found, &made->file);
    if (code == ACL_SUCCESS && (code = map_import(made, &found, flags)) != ACL_SUCCESS)
        close(made->file);
    if (code != ACL_SUCCESS) {
        free(made);
        return code;
    }
    pthread_mutex_lock(&lock);
    made->next = imports;
    imports = made;
    pthread_mutex_unlock(&lock);
    *p = (void *)made->start;
    return ACL_SUCCESS;
}

static import *take_import(const char *key)
{
    import *found = NULL;

    pthread_mutex_lock(&lock);
    for (import **link = &imports; *link && !found; link = found ? link : &(*link)->next)
        if (strcmp((*link)->key, key) == 0) {
            found = *link;
            *link = found->next;
        }
    pthread_mutex_unlock(&lock);
    return found;
}

/* For who shares: nobody can map it from now on. For who mapped it: the mapping goes. */
aclError aclrtIpcMemClose(const char *key)
{
    import *found = key ? take_import(key) : NULL;
    int32_t pid;
    int number, chip;
    size_t bytes;

    if (found) {
        address_unmap(found->start, &bytes, &chip);
        address_give_back(found->start);
        close(found->file);
        free(found);
        return ACL_SUCCESS;
    }
    if (!parse_key(key, &pid, &number) || pid != getpid())
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtIpcMemClose: not a key in use");
    board_remove_export(number);
    return ACL_SUCCESS;
}

/* A shareable handle: the process in the upper half, the number of its board's entry below. */
aclError aclrtMemExportToShareableHandle(aclrtDrvMemHandle handle, aclrtMemHandleType type,
                                         uint64_t flags, uint64_t *shareable)
{
    physical *p = physical_of(handle);
    int number;

    if (!p || p->imported || !shareable || type != ACL_MEM_HANDLE_TYPE_NONE)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMemExportToShareableHandle: not a "
                         "handle of memory that this process made");
    number = board_add_export(p->chip, p->file, p->offset, p->bytes,
                              flags & ACL_RT_VMM_EXPORT_FLAG_DISABLE_PID_VALIDATION);
    if (number < 0)
        return chip_fail(ACL_ERROR_RT_IPC_ERROR, "more than %d pieces of memory exported",
                         BOARD_EXPORTS);
    *shareable = (uint64_t)(uint32_t)getpid() << 32 | (uint32_t)number;
    return ACL_SUCCESS;
}

aclError aclrtMemSetPidToShareableHandle(uint64_t shareable, int32_t *pids, size_t count)
{
    uint32_t number = (uint32_t)shareable;

    if ((int32_t)(shareable >> 32) != getpid() || number >= BOARD_EXPORTS || !pids)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID,
                         "aclrtMemSetPidToShareableHandle: not a handle of this process");
    return board_allow((int)number, pids, count)
               ? ACL_SUCCESS
               : chip_fail(ACL_ERROR_RT_OVER_LIMIT, "more than %d processes", BOARD_PIDS);
}

aclError aclrtMemImportFromShareableHandle(uint64_t shareable, int32_t device,
                                           aclrtDrvMemHandle *handle)
{
    uint32_t number = (uint32_t)shareable;
    board_export found;
    int chip, file;
    aclError code = device_need("aclrtMemImportFromShareableHandle", device, &chip);

    if (code == ACL_SUCCESS && (!handle || number >= BOARD_EXPORTS))
        code = chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtMemImportFromShareableHandle: NULL, or "
                         "not a shareable handle");
    if (code == ACL_SUCCESS)
        code = look_up("aclrtMemImportFromShareableHandle", (int32_t)(shareable >> 32),
                       (int)number, &found, &file);
    if (code != ACL_SUCCESS)
        return code;
    *handle = physical_add(found.chip, file, found.offset, found.bytes, true);
    if (*handle)
        return ACL_SUCCESS;
    close(file);
    return chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "aclrtMemImportFromShareableHandle");
}
