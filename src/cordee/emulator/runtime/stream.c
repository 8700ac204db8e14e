/* Which streams there are, and how they come and go. */
#include "stream.h"

#include <stdlib.h>

enum { LIVE = 0x57ea0001, DEAD = 0xdead57ea };

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static stream *all, *destroyed;
static int32_t next_id;
static _Atomic uint32_t aborts[MACHINE_CHIPS]; /* of everything this process has on a chip */

int stream_chip(const stream *s)
{
    return s->chip;
}

static stream *take_struct(void)
{
    stream *s = destroyed;
    pthread_condattr_t monotonic;

    if (s) {
        destroyed = s->next;
        return s;
    }
    s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return s;
}

stream *stream_open(context *owner, uint32_t priority, uint32_t flags)
{
    stream *s;

    pthread_mutex_lock(&all_lock);
    s = take_struct();
    if (s) {
        s->owner = owner;
        s->chip = owner->chip;
        s->priority = priority;
        s->flags = flags;
        s->failure_mode = ACL_CONTINUE_ON_FAILURE;
        s->overflow_switch = s->custom_tag = s->cache_op_info = 0;
        s->cube_limit = s->vector_limit = 0;
        s->head = s->tail = NULL;
        s->has_worker = s->running = s->closing = false;
        atomic_store(&s->interrupted, ACL_SUCCESS);
        s->error = ACL_SUCCESS;
        atomic_store(&s->busy, 0);
        s->id = next_id++;
        s->next = all;
        all = s;
        s->magic = LIVE;
    }
    pthread_mutex_unlock(&all_lock);
    return s;
}

static stream *default_stream_of(context *c)
{
    stream *s = atomic_load(&c->default_stream), *none = NULL;

    if (s)
        return s;
    s = stream_open(c, 0, 0);
    if (s && !atomic_compare_exchange_strong(&c->default_stream, &none, s)) {
        stream_close(s, true); /* another thread was faster */
        s = none;
    }
    return s;
}

stream *stream_of(aclrtStream handle, const char *function, aclError *code)
{
    stream *s = handle;
    context *c;

    if (s && s->magic == LIVE) {
        *code = machine_forked() ? context_need(function, &c) : machine_health(s->chip);
        return *code == ACL_SUCCESS ? s : NULL;
    }
    if (s) {
        *code = chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: the stream was destroyed", function);
        return NULL;
    }
    *code = context_need(function, &c);
    if (*code != ACL_SUCCESS)
        return NULL;
    s = default_stream_of(c);
    if (!s)
        *code = chip_fail(ACL_ERROR_RT_NO_STREAM_RESOURCE, "%s: no host memory", function);
    return s;
}

/* Put a struct back once no thread uses it any more. */
void stream_recycle(stream *s)
{
    pthread_mutex_lock(&all_lock);
    s->next = destroyed;
    destroyed = s;
    pthread_mutex_unlock(&all_lock);
}

/* The live streams on a chip, or of one context, as they are now; the caller frees the list. */
static stream **snapshot(int chip, const context *owner, size_t *count)
{
    stream **list;
    size_t room = 0;

    pthread_mutex_lock(&all_lock);
    for (stream *s = all; s; s = s->next)
        room++;
    list = malloc((room + 1) * sizeof *list);
    *count = 0;
    for (stream *s = all; s && list; s = s->next)
        if (owner ? s->owner == owner : s->chip == chip)
            list[(*count)++] = s;
    pthread_mutex_unlock(&all_lock);
    return list;
}

aclError streams_wait(int chip, int32_t timeout_ms)
{
    uint64_t end = clock_ns() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms) * 1000000u;
    aclError first = machine_health(chip);
    size_t count;
    stream **list = snapshot(chip, NULL, &count);

    for (size_t i = 0; i < count && first == ACL_SUCCESS; i++) {
        uint64_t now = clock_ns();
        int32_t left = timeout_ms < 0 ? -1 : now < end ? (int32_t)((end - now) / 1000000u) + 1 : 0;
        if (list[i]->magic == LIVE)
            first = stream_wait(list[i], left);
    }
    free(list);
    return first;
}

void streams_nudge(int chip)
{
    size_t count;
    stream **list = snapshot(chip, NULL, &count);

    for (size_t i = 0; i < count; i++)
        if (list[i]->magic == LIVE)
            stream_nudge(list[i]);
    free(list);
}

void stream_abort(stream *s, aclError why)
{
    pthread_mutex_lock(&s->lock);
    atomic_fetch_add(&s->aborts, 1);
    if (s->running)
        atomic_store(&s->interrupted, why);
    stream_drop_queued(s, why);
    pthread_mutex_unlock(&s->lock);
}

void streams_abort(int chip)
{
    size_t count;
    stream **list = snapshot(chip, NULL, &count);

    atomic_fetch_add(&aborts[chip], 1);
    for (size_t i = 0; i < count; i++)
        stream_abort(list[i], ACL_ERROR_RT_DEVICE_TASK_ABORT);
    free(list);
    address_settle(); /* a copy that runs right now comes to its end */
}

uint32_t streams_aborted(int chip)
{
    return atomic_load_explicit(&aborts[chip], memory_order_relaxed);
}

static void forget(stream *s)
{
    pthread_mutex_lock(&all_lock);
    for (stream **link = &all; *link; link = &(*link)->next)
        if (*link == s) {
            *link = s->next;
            break;
        }
    pthread_mutex_unlock(&all_lock);
}

aclError stream_close(stream *s, bool drop)
{
    aclError code = drop ? ACL_SUCCESS : stream_wait(s, -1);
    bool has_worker;

    s->magic = DEAD;
    forget(s);
    pthread_mutex_lock(&s->lock);
    stream_drop_queued(s, ACL_ERROR_RT_STREAM_ABORT);
    s->closing = true;
    has_worker = s->has_worker;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    address_settle(); /* the program may free the memory of a copy that runs right now */
    if (!has_worker)
        stream_recycle(s);
    return code;
}

void streams_destroy_of(context *owner)
{
    size_t count;
    stream **list = snapshot(owner->chip, owner, &count);

    for (size_t i = 0; i < count; i++)
        stream_close(list[i], true);
    free(list);
    atomic_store(&owner->default_stream, NULL);
}
