/* Events that other processes may wait for: their mark lies on the board of who made them.
 *
 * Follows: CANN "Runtime API", chapter Event Management (IPC).
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "board.h"
#include "process.h"

bool event_ipc_open(event *e)
{
    int number = board_add_mark();

    if (number < 0)
        return false;
    e->mark = &board_own()->marks[number];
    e->own_number = number + 1;
    return true;
}

void event_ipc_close(event *e)
{
    if (e->foreign)
        board_close(e->foreign);
    else if (e->own_number)
        board_remove_mark(e->own_number - 1);
    e->foreign = NULL;
    e->own_number = 0;
    e->mark = &e->own;
}

aclError aclrtIpcGetEventHandle(aclrtEvent handle, aclrtIpcEventHandle *out)
{
    event *e;
    aclError code = event_of(handle, "aclrtIpcGetEventHandle", &e);

    if (code != ACL_SUCCESS)
        return code;
    if (!out || !e->own_number)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID,
                         "aclrtIpcGetEventHandle: the event was not made with ACL_EVENT_IPC");
    memset(out, 0, sizeof *out);
    snprintf(out->reserved, sizeof out->reserved, "cordee-event-%d-%lu-%d", getpid(),
             (unsigned long)process_start_ticks(getpid()), e->own_number - 1);
    return ACL_SUCCESS;
}

aclError aclrtIpcOpenEventHandle(aclrtIpcEventHandle handle, aclrtEvent *made)
{
    unsigned long ticks;
    int number;
    int32_t pid;
    board *b = NULL;
    event *e;

    handle.reserved[sizeof handle.reserved - 1] = '\0';
    if (!made || sscanf(handle.reserved, "cordee-event-%d-%lu-%d", &pid, &ticks, &number) != 3 ||
        number < 0 || number >= BOARD_MARKS)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtIpcOpenEventHandle: not a handle");
    if (process_lives(pid, ticks))
        b = board_open(pid);
    if (!b)
        return chip_fail(ACL_ERROR_RT_IPC_ERROR, "aclrtIpcOpenEventHandle: process %d has ended",
                         pid);
    e = event_open(ACL_EVENT_IPC, true);
    if (!e) {
        board_close(b);
        return chip_fail(ACL_ERROR_RT_NO_EVENT_RESOURCE, "aclrtIpcOpenEventHandle");
    }
    e->foreign = b;
    e->mark = &b->marks[number];
    *made = e;
    return ACL_SUCCESS;
}
