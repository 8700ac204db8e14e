/* Marks: numbers that only grow, and sleepers who wait for one, in this or another process. */
#include <linux/futex.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "event.h"

enum { SLICE_NS = 100000000, WATCH_NS = 50000 };

static void ring(mark *m)
{
    atomic_fetch_add(&m->bell, 1);
    syscall(SYS_futex, &m->bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void mark_reach(mark *m, uint64_t number, aclError error)
{
    atomic_store(&m->time_ns, clock_ns());
    if (error != ACL_SUCCESS)
        atomic_store(&m->error, error);
    if (atomic_load(&m->reached) < number)
        atomic_store(&m->reached, number);
    ring(m);
}

void mark_clear(mark *m)
{
    atomic_store(&m->asked, 0);
    atomic_store(&m->reached, 0);
    atomic_store(&m->error, ACL_SUCCESS);
}

bool mark_reached(const mark *m, uint64_t number)
{
    return atomic_load_explicit(&m->reached, memory_order_acquire) >= number;
}

aclError mark_error(const mark *m)
{
    return atomic_load(&m->error);
}

uint64_t mark_time_ns(const mark *m)
{
    return atomic_load(&m->time_ns);
}

/* A mark of another process that died will never be reached. */
static bool abandoned(const mark *m)
{
    int32_t owner = atomic_load(&m->owner);

    return owner != 0 && owner != getpid() && kill(owner, 0) != 0;
}

static aclError health_of(const stream *on)
{
    const context *c = on ? NULL : context_current();

    if (!on && !c)
        return ACL_SUCCESS;
    return machine_health(on ? stream_chip(on) : c->chip);
}

/* Waking a thread that sleeps takes longer than most of what is waited for. */
static void watch(const mark *m, uint64_t number)
{
    uint64_t end = clock_ns() + WATCH_NS;

    while (!mark_reached(m, number) && clock_ns() < end)
        sched_yield();
}

aclError mark_wait(mark *m, uint64_t number, int32_t timeout_ms, const stream *on)
{
    uint64_t end = clock_ns() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms) * 1000000u;
    const struct timespec slice = {0, SLICE_NS};
    aclError code;

    watch(m, number);
    for (;;) {
        uint32_t bell = atomic_load(&m->bell);
        if (mark_reached(m, number))
            break;
        if (timeout_ms >= 0 && clock_ns() >= end)
            return chip_fail(ACL_ERROR_RT_EVENT_SYNC_TIMEOUT,
                             "an event was not reached within %d ms", timeout_ms);
        if (abandoned(m))
            return chip_fail(ACL_ERROR_RT_SUSPECT_REMOTE_ERROR,
                             "the process that should record an event has ended");
        if (on && stream_interrupted(on) != ACL_SUCCESS)
            return stream_interrupted(on);
        code = health_of(on);
        if (code != ACL_SUCCESS)
            return code;
        syscall(SYS_futex, &m->bell, FUTEX_WAIT, bell, &slice, NULL, 0);
    }
    if (mark_error(m) != ACL_SUCCESS)
        return chip_fail_as_queued(mark_error(m), "the stream that should record an event failed");
    return ACL_SUCCESS;
}
