/* The queue of a stream and the thread that works it off.
 *
 * Work that finds its stream empty is done at once by the thread that asks: nothing before it can
 * be overtaken, and starting a thread for every small copy would cost more than the copy. For the same
 * reason a thread that waits for a stream does itself what the stream's thread has not begun, and a
 * wait for an event is left to whatever comes after it.
 */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "stream.h"

enum { SLICE_MS = 100, WATCH_NS = 50000 };

aclError stream_interrupted(const stream *s)
{
    return atomic_load(&s->closing) ? ACL_ERROR_RT_STREAM_ABORT : atomic_load(&s->interrupted);
}

bool stream_idle(const stream *s)
{
    return (atomic_load_explicit(&s->busy, memory_order_acquire) & (STREAM_FAILED - 1)) == 0;
}

/* Caller holds the stream's lock. */
static void note_error(stream *s, aclError code)
{
    if (code == ACL_SUCCESS || s->error != ACL_SUCCESS)
        return;
    s->error = code;
    chip_note_queued(code);
    snprintf(s->reason, sizeof s->reason, "%s", chip_why());
    atomic_fetch_or(&s->busy, STREAM_FAILED);
}

/* Do the first task. Caller holds the stream's lock; nobody else is doing one. */
static void do_first(stream *s)
{
    task *t = s->head;
    aclError code, before = s->failure_mode == ACL_STOP_ON_FAILURE ? s->error : ACL_SUCCESS;

    s->head = t->next;
    if (!s->head)
        s->tail = NULL;
    s->running = true;
    pthread_mutex_unlock(&s->lock);
    if (before == ACL_SUCCESS && hang_lasts(s->chip))
        before = hang_wait(s->chip, s);
    code = t->work(t->argument, before);
    free(t->argument);
    free(t);
    pthread_mutex_lock(&s->lock);
    s->running = false;
    if (atomic_exchange(&s->interrupted, ACL_SUCCESS) == ACL_SUCCESS)
        note_error(s, code);
    atomic_fetch_sub(&s->busy, 1);
    pthread_cond_broadcast(&s->changed);
}

static void *worker(void *argument)
{
    stream *s = argument;

    pthread_mutex_lock(&s->lock);
    while (s->head || s->running || !s->closing) {
        if (s->head && !s->running)
            do_first(s);
        else
            pthread_cond_wait(&s->changed, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    stream_recycle(s);
    return NULL;
}

/* The program's signal handlers must not run on our threads. Caller holds the stream's lock. */
static bool start_worker(stream *s)
{
    pthread_attr_t detached;
    sigset_t every, before;
    pthread_t thread;

    if (s->has_worker)
        return true;
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    s->has_worker = pthread_create(&thread, &detached, worker, s) == 0;
    pthread_attr_destroy(&detached);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return s->has_worker;
}

/* Have the stream's thread go to work. Caller holds the stream's lock. */
static bool wake_worker(stream *s)
{
    bool started = start_worker(s);

    if (started)
        pthread_cond_broadcast(&s->changed);
    return started;
}

/* `at_once`: do not leave it to whatever comes after. */
static aclError append(stream *s, stream_work work, void *argument, bool at_once)
{
    task *t = malloc(sizeof *t);
    bool started;

    if (!t) {
        free(argument);
        return chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "no host memory for a task");
    }
    *t = (task){NULL, work, argument};
    pthread_mutex_lock(&s->lock);
    started = !at_once || wake_worker(s);
    if (started) {
        if (s->tail)
            s->tail->next = t;
        else
            s->head = t;
        s->tail = t;
        atomic_fetch_add(&s->busy, 1);
    }
    pthread_mutex_unlock(&s->lock);
    if (started)
        return ACL_SUCCESS;
    free(argument);
    free(t);
    return chip_fail(ACL_ERROR_RT_NO_STREAM_RESOURCE, "the host refuses one more thread");
}

aclError stream_queue(stream *s, stream_work work, void *argument)
{
    return append(s, work, argument, true);
}

static aclError append_copy(stream *s, stream_work work, const void *argument, size_t size,
                            bool at_once)
{
    void *own = malloc(size);

    if (!own)
        return chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "no host memory for a task");
    memcpy(own, argument, size);
    return append(s, work, own, at_once);
}

aclError stream_queue_copy(stream *s, stream_work work, const void *argument, size_t size)
{
    return append_copy(s, work, argument, size, true);
}

aclError stream_queue_wait(stream *s, stream_work work, const void *argument, size_t size)
{
    return append_copy(s, work, argument, size, false);
}

void stream_nudge(stream *s)
{
    pthread_mutex_lock(&s->lock);
    if (s->head)
        wake_worker(s);
    pthread_mutex_unlock(&s->lock);
}

aclError stream_run(stream *s, stream_work work, const void *argument, size_t size)
{
    if (atomic_load_explicit(&s->busy, memory_order_acquire) == 0 && !hang_lasts(s->chip))
        return work((void *)(uintptr_t)argument, ACL_SUCCESS);
    return stream_queue_copy(s, work, argument, size);
}

static struct timespec after_ms(uint64_t ms)
{
    uint64_t at = clock_ns() + ms * 1000000u;

    return (struct timespec){(time_t)(at / 1000000000u), (long)(at % 1000000000u)};
}

/* Until the task that runs is done, for a moment: waking a thread that sleeps takes longer than most
 * tasks. Caller holds the stream's lock. */
static void watch(stream *s)
{
    uint64_t end = clock_ns() + WATCH_NS;

    pthread_mutex_unlock(&s->lock);
    while (atomic_load(&s->running) && clock_ns() < end)
        sched_yield();
    pthread_mutex_lock(&s->lock);
}

/* Wait in slices, so that a chip that falls ill ends the wait. Caller holds the stream's lock. */
static aclError drain(stream *s, int32_t timeout_ms)
{
    uint64_t end = clock_ns() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms) * 1000000u;
    uint32_t aborts = streams_aborted(s->chip);

    if (s->running)
        watch(s);
    while (!stream_idle(s) && streams_aborted(s->chip) == aborts) {
        uint64_t now = clock_ns(), left = SLICE_MS;
        struct timespec until;
        aclError health = machine_health(s->chip);

        if (health != ACL_SUCCESS)
            return health;
        if (timeout_ms >= 0 && now >= end)
            return chip_fail(ACL_ERROR_RT_STREAM_SYNC_TIMEOUT,
                             "stream %d is not done after %d ms", s->id, timeout_ms);
        if (timeout_ms < 0 && s->head && !s->running) {
            do_first(s);
            continue;
        }
        if (s->head && !s->running)
            wake_worker(s);
        if (timeout_ms >= 0 && (end - now) / 1000000u < left)
            left = (end - now) / 1000000u + 1;
        until = after_ms(left);
        pthread_cond_timedwait(&s->changed, &s->lock, &until);
    }
    if (streams_aborted(s->chip) != aborts)
        return chip_fail(ACL_ERROR_RT_DEVICE_TASK_ABORT, "the tasks of chip %d were aborted",
                         s->chip);
    return ACL_SUCCESS;
}

/* With ACL_STOP_ON_FAILURE the error stays until the stream is aborted or destroyed. */
static aclError error_of(stream *s, bool forget)
{
    aclError code = s->error;

    if (code == ACL_SUCCESS)
        return machine_health(s->chip);
    chip_report(code, s->reason);
    if (forget && s->failure_mode != ACL_STOP_ON_FAILURE) {
        s->error = ACL_SUCCESS;
        atomic_fetch_and(&s->busy, ~STREAM_FAILED);
    }
    return code;
}

aclError stream_wait(stream *s, int32_t timeout_ms)
{
    aclError code;

    pthread_mutex_lock(&s->lock);
    code = drain(s, timeout_ms);
    if (code == ACL_SUCCESS)
        code = error_of(s, true);
    pthread_mutex_unlock(&s->lock);
    return code;
}

CORDEE_API aclError cordee_compute_begin(aclrtStream handle)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "an operator", &code);

    if (!s || (atomic_load_explicit(&s->busy, memory_order_acquire) == 0 && !hang_lasts(s->chip)))
        return code;
    pthread_mutex_lock(&s->lock);
    code = drain(s, -1);
    if (code == ACL_SUCCESS)
        code = error_of(s, false);
    pthread_mutex_unlock(&s->lock);
    if (code != ACL_SUCCESS || !hang_lasts(s->chip))
        return code;
    code = hang_wait(s->chip, s);
    pthread_mutex_lock(&s->lock);
    if (code == ACL_ERROR_RT_AICORE_TIMEOUT)
        note_error(s, code); /* what the program asks of the stream next fails too */
    pthread_mutex_unlock(&s->lock);
    return code;
}

/* Caller holds the stream's lock. */
void stream_drop_queued(stream *s, aclError why)
{
    while (s->head) {
        task *t = s->head;
        s->head = t->next;
        t->work(t->argument, why);
        free(t->argument);
        free(t);
        atomic_fetch_sub(&s->busy, 1);
    }
    s->tail = NULL;
    s->error = ACL_SUCCESS;
    atomic_fetch_and(&s->busy, ~STREAM_FAILED);
    pthread_cond_broadcast(&s->changed);
}
