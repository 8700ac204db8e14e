/* Events: marks in a stream that others wait for, with the time at which they were passed.
 *
 * Each record has a number; an event is done when the latest number asked for was reached. A wait
 * remembers the number it saw, so recording an event again does not confuse those who wait.
 *
 * Follows: CANN "Runtime API", chapter Event Management.
 */
#include "event.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { LIVE = 0xe7e70001, DEAD = 0xdeade7e7 };

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static event *destroyed; /* kept and used again, so a stale handle is always readable */
static uint32_t next_id;

event *event_open(uint32_t flags, bool reusable)
{
    event *e;

    pthread_mutex_lock(&pool_lock);
    e = destroyed;
    if (e)
        destroyed = e->next;
    else
        e = calloc(1, sizeof *e);
    if (e) {
        e->id = next_id++;
        e->flags = flags;
        e->reusable = reusable;
        e->users = 1;
        e->mark = &e->own;
        e->own_number = 0;
        e->foreign = NULL;
        memset((void *)&e->own, 0, sizeof e->own);
        e->magic = LIVE;
    }
    pthread_mutex_unlock(&pool_lock);
    return e;
}

void event_keep(event *e)
{
    atomic_fetch_add(&e->users, 1);
}

void event_let_go(event *e)
{
    if (atomic_fetch_sub(&e->users, 1) != 1)
        return;
    event_ipc_close(e);
    pthread_mutex_lock(&pool_lock);
    e->next = destroyed;
    destroyed = e;
    pthread_mutex_unlock(&pool_lock);
}

aclError event_of(aclrtEvent handle, const char *function, event **found)
{
    *found = handle;
    if (!handle || (*found)->magic != LIVE)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: not a live event", function);
    return ACL_SUCCESS;
}

static aclError create(const char *function, aclrtEvent *made, uint32_t flags, bool reusable)
{
    context *c;
    aclError code = context_need(function, &c);
    event *e;

    if (code != ACL_SUCCESS)
        return code;
    if (!made)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: event is NULL", function);
    e = event_open(flags, reusable);
    if (!e || (flags & ACL_EVENT_IPC && !event_ipc_open(e)))
        return chip_fail(ACL_ERROR_RT_NO_EVENT_RESOURCE, "%s: no more events", function);
    *made = e;
    return ACL_SUCCESS;
}

aclError aclrtCreateEvent(aclrtEvent *made)
{
    return create("aclrtCreateEvent", made, ACL_EVENT_SYNC | ACL_EVENT_TIME_LINE, false);
}

aclError aclrtCreateEventWithFlag(aclrtEvent *made, uint32_t flags)
{
    return create("aclrtCreateEventWithFlag", made, flags, false);
}

aclError aclrtCreateEventExWithFlag(aclrtEvent *made, uint32_t flags)
{
    return create("aclrtCreateEventExWithFlag", made, flags, true);
}

aclError aclrtDestroyEvent(aclrtEvent handle)
{
    event *e;
    aclError code = event_of(handle, "aclrtDestroyEvent", &e);

    if (code == ACL_SUCCESS) {
        e->magic = DEAD;
        event_let_go(e);
    }
    return code;
}

typedef struct step {
    event *of;
    uint64_t number;
    int32_t timeout_ms;
    const stream *on;
} step;

static aclError pass(void *argument, aclError before)
{
    step *s = argument;

    mark_reach(s->of->mark, s->number, before);
    event_let_go(s->of);
    return before;
}

aclError aclrtRecordEvent(aclrtEvent handle, aclrtStream stream_handle)
{
    event *e;
    aclError code = event_of(handle, "aclrtRecordEvent", &e);
    stream *s = code == ACL_SUCCESS ? stream_of(stream_handle, "aclrtRecordEvent", &code) : NULL;
    step record;

    if (!s)
        return code;
    record = (step){e, atomic_fetch_add(&e->mark->asked, 1) + 1, 0, s};
    event_keep(e);
    return stream_run(s, pass, &record, sizeof record);
}

static aclError clear(void *argument, aclError before)
{
    step *s = argument;

    if (before == ACL_SUCCESS)
        mark_clear(s->of->mark);
    event_let_go(s->of);
    return before;
}

aclError aclrtResetEvent(aclrtEvent handle, aclrtStream stream_handle)
{
    event *e;
    aclError code = event_of(handle, "aclrtResetEvent", &e);
    stream *s = code == ACL_SUCCESS ? stream_of(stream_handle, "aclrtResetEvent", &code) : NULL;
    step reset;

    if (!s)
        return code;
    if (e->reusable)
        return chip_fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT, "aclrtResetEvent: events made by "
                         "aclrtCreateEventExWithFlag need no reset");
    reset = (step){e, 0, 0, s};
    event_keep(e);
    return stream_run(s, clear, &reset, sizeof reset);
}

static aclError await(void *argument, aclError before)
{
    step *s = argument;
    aclError code = before;

    if (code == ACL_SUCCESS)
        code = mark_wait(s->of->mark, s->number, s->timeout_ms, s->on);
    event_let_go(s->of);
    return code;
}

/* Waiting for a reusable event that nobody recorded is no wait; the older kind waits for the
 * first record to come. */
static uint64_t awaited(const event *e)
{
    uint64_t asked = atomic_load(&e->mark->asked);

    return e->reusable || asked ? asked : 1;
}

aclError aclrtStreamWaitEventWithTimeout(aclrtStream stream_handle, aclrtEvent handle,
                                         int32_t timeout_ms)
{
    event *e;
    aclError code = event_of(handle, "aclrtStreamWaitEvent", &e);
    stream *s = code == ACL_SUCCESS ? stream_of(stream_handle, "aclrtStreamWaitEvent", &code) : NULL;
    step wait;

    if (!s)
        return code;
    wait = (step){e, awaited(e), timeout_ms, s};
    if (mark_reached(e->mark, wait.number) && mark_error(e->mark) == ACL_SUCCESS)
        return ACL_SUCCESS; /* whatever comes after on the stream is after it already */
    event_keep(e);
    return stream_queue_wait(s, await, &wait, sizeof wait);
}

aclError aclrtStreamWaitEvent(aclrtStream stream_handle, aclrtEvent handle)
{
    return aclrtStreamWaitEventWithTimeout(stream_handle, handle, settings_wait_timeout_ms());
}

aclError aclrtSynchronizeEventWithTimeout(aclrtEvent handle, int32_t timeout_ms)
{
    event *e;
    aclError code = event_of(handle, "aclrtSynchronizeEvent", &e);

    if (code != ACL_SUCCESS)
        return code;
    return mark_wait(e->mark, atomic_load(&e->mark->asked), timeout_ms, NULL);
}

aclError aclrtSynchronizeEvent(aclrtEvent handle)
{
    return aclrtSynchronizeEventWithTimeout(handle, -1);
}

static bool is_done(const event *e)
{
    uint64_t asked = atomic_load(&e->mark->asked);

    return asked != 0 && mark_reached(e->mark, asked);
}

aclError aclrtQueryEventStatus(aclrtEvent handle, aclrtEventRecordedStatus *status)
{
    event *e;
    aclError code = event_of(handle, "aclrtQueryEventStatus", &e);

    code = chip_need(code, "aclrtQueryEventStatus", status);
    if (code != ACL_SUCCESS)
        return code;
    *status = is_done(e) ? ACL_EVENT_RECORDED_STATUS_COMPLETE : ACL_EVENT_RECORDED_STATUS_NOT_READY;
    return ACL_SUCCESS;
}

aclError aclrtQueryEvent(aclrtEvent handle, aclrtEventStatus *status)
{
    event *e;
    aclError code = event_of(handle, "aclrtQueryEvent", &e);

    code = chip_need(code, "aclrtQueryEvent", status);
    if (code != ACL_SUCCESS)
        return code;
    *status = is_done(e) ? ACL_EVENT_STATUS_COMPLETE : ACL_EVENT_STATUS_NOT_READY;
    return ACL_SUCCESS;
}

aclError aclrtQueryEventWaitStatus(aclrtEvent handle, aclrtEventWaitStatus *status)
{
    event *e;
    aclError code = event_of(handle, "aclrtQueryEventWaitStatus", &e);

    code = chip_need(code, "aclrtQueryEventWaitStatus", status);
    if (code != ACL_SUCCESS)
        return code;
    if (context_current())
        streams_nudge(context_current()->chip);
    /* Every queued wait keeps the event in use; one user is the program's own handle. */
    *status = atomic_load(&e->users) == 1 ? ACL_EVENT_WAIT_STATUS_COMPLETE
                                          : ACL_EVENT_WAIT_STATUS_NOT_READY;
    return ACL_SUCCESS;
}

aclError aclrtEventElapsedTime(float *ms, aclrtEvent start_handle, aclrtEvent end_handle)
{
    event *start, *end;
    aclError code = event_of(start_handle, "aclrtEventElapsedTime", &start);

    if (code == ACL_SUCCESS)
        code = event_of(end_handle, "aclrtEventElapsedTime", &end);
    if (code != ACL_SUCCESS)
        return code;
    if (!ms)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtEventElapsedTime: ms is NULL");
    if (!is_done(start) || !is_done(end))
        return chip_fail(ACL_ERROR_RT_EVENT_TIMESTAMP_INVALID,
                         "aclrtEventElapsedTime: an event was not recorded or is not done");
    *ms = (float)((double)((int64_t)mark_time_ns(end->mark) - (int64_t)mark_time_ns(start->mark)) /
                  1e6);
    return ACL_SUCCESS;
}

/* In microseconds, as the vendor's page says. */
aclError aclrtEventGetTimestamp(aclrtEvent handle, uint64_t *timestamp)
{
    event *e;
    aclError code = event_of(handle, "aclrtEventGetTimestamp", &e);

    if (code != ACL_SUCCESS)
        return code;
    if (!timestamp || !is_done(e))
        return chip_fail(ACL_ERROR_RT_EVENT_TIMESTAMP_INVALID,
                         "aclrtEventGetTimestamp: the event was not recorded or is not done");
    *timestamp = mark_time_ns(e->mark) / 1000u;
    return ACL_SUCCESS;
}

aclError aclrtGetEventId(aclrtEvent handle, uint32_t *id)
{
    event *e;
    aclError code = event_of(handle, "aclrtGetEventId", &e);

    if (code == ACL_SUCCESS && id)
        *id = e->id;
    return code;
}
