/* Host functions that run in the order of a stream.
 *
 * aclrtLaunchCallback runs them on a thread that subscribed to the stream and asks for work with
 * aclrtProcessReport; aclrtLaunchHostFunc runs them on the stream's own thread.
 *
 * Follows: CANN "Runtime API", chapter Callback and Host Function.
 */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "stream.h"

enum { SLICE_NS = 100000000 };

typedef struct call {
    struct call *next;
    aclrtCallback function;
    void *data;
    bool blocks;
    bool done; /* when it blocks: set and rung by the thread that ran it */
} call;

typedef struct subscription {
    struct subscription *next;
    uint64_t thread;
    stream *of;
} subscription;

typedef struct inbox {
    struct inbox *next;
    uint64_t thread;
    call *first, *last;
} inbox;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static subscription *subscriptions;
static inbox *inboxes;

/* Caller holds the lock. */
static subscription *subscription_of(const stream *s)
{
    for (subscription *found = subscriptions; found; found = found->next)
        if (found->of == s)
            return found;
    return NULL;
}

/* Caller holds the lock. */
static inbox *inbox_of(uint64_t thread, bool make)
{
    inbox *found = inboxes;

    while (found && found->thread != thread)
        found = found->next;
    if (!found && make && (found = calloc(1, sizeof *found))) {
        found->thread = thread;
        found->next = inboxes;
        inboxes = found;
    }
    return found;
}

aclError aclrtSubscribeReport(uint64_t thread, aclrtStream handle)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtSubscribeReport", &code);
    subscription *made = s ? calloc(1, sizeof *made) : NULL;

    if (!made)
        return s ? chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "aclrtSubscribeReport") : code;
    pthread_mutex_lock(&lock);
    if (subscription_of(s)) {
        code = chip_fail(ACL_ERROR_RT_STREAM_SUBSCRIBE, "a thread subscribed to the stream before");
        free(made);
    } else if (!inbox_of(thread, true)) {
        code = chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "aclrtSubscribeReport");
        free(made);
    } else {
        *made = (subscription){subscriptions, thread, s};
        subscriptions = made;
    }
    pthread_mutex_unlock(&lock);
    return code;
}

aclError aclrtUnSubscribeReport(uint64_t thread, aclrtStream handle)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtUnSubscribeReport", &code);
    subscription *found = NULL;

    if (!s)
        return code;
    pthread_mutex_lock(&lock);
    for (subscription **link = &subscriptions; *link; link = &(*link)->next)
        if ((*link)->of == s && (*link)->thread == thread) {
            found = *link;
            *link = found->next;
            break;
        }
    pthread_mutex_unlock(&lock);
    free(found);
    return found ? ACL_SUCCESS
                 : chip_fail(ACL_ERROR_RT_THREAD_SUBSCRIBE, "the thread is not subscribed");
}

typedef struct request {
    stream *of;
    aclrtCallback function;
    void *data;
    bool blocks;
} request;

/* Caller holds the lock. */
static void wait_a_little(void)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += SLICE_NS;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&changed, &lock, &until);
}

/* On the stream's thread: hand the call to the subscriber, and wait for it if asked to. */
static aclError deliver(void *argument, aclError before)
{
    request *r = argument;
    call *c = before == ACL_SUCCESS ? calloc(1, sizeof *c) : NULL;
    aclError code = before;
    bool done = false;

    if (!c)
        return before ? before : chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "aclrtLaunchCallback");
    *c = (call){NULL, r->function, r->data, r->blocks, false};
    pthread_mutex_lock(&lock);
    subscription *to = subscription_of(r->of);
    inbox *box = to ? inbox_of(to->thread, false) : NULL;
    if (box) {
        if (box->last)
            box->last->next = c;
        else
            box->first = c;
        box->last = c;
        pthread_cond_broadcast(&changed);
        while (r->blocks && !c->done && stream_interrupted(r->of) == ACL_SUCCESS)
            wait_a_little();
        done = c->done;
    } else {
        code = chip_fail(ACL_ERROR_RT_STREAM_NO_CB_REG, "no thread is subscribed to the stream");
    }
    pthread_mutex_unlock(&lock);
    if (done || !box) /* otherwise it still lies in the inbox */
        free(c);
    return code;
}

aclError aclrtLaunchCallback(aclrtCallback function, void *data, aclrtCallbackBlockType type,
                             aclrtStream handle)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtLaunchCallback", &code);
    request r = {s, function, data, type == ACL_CALLBACK_BLOCK};
    bool subscribed;

    if (!s)
        return code;
    if (!function)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtLaunchCallback: function is NULL");
    pthread_mutex_lock(&lock);
    subscribed = subscription_of(s) != NULL;
    pthread_mutex_unlock(&lock);
    if (!subscribed)
        return chip_fail(ACL_ERROR_RT_STREAM_NO_CB_REG, "aclrtLaunchCallback: no thread is "
                         "subscribed to the stream");
    return stream_queue_copy(s, deliver, &r, sizeof r);
}

static void run(call *c)
{
    c->function(c->data);
    if (!c->blocks) {
        free(c);
        return;
    }
    pthread_mutex_lock(&lock);
    c->done = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* Run what has arrived for the calling thread; wait for it at most `timeout_ms`, -1: for ever. */
aclError aclrtProcessReport(int32_t timeout_ms)
{
    struct timespec until;
    call *first = NULL;
    inbox *box;
    int late = 0;

    if (timeout_ms < -1 || timeout_ms == 0)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtProcessReport: %d ms", timeout_ms);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (timeout_ms % 1000) * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;

    pthread_mutex_lock(&lock);
    box = inbox_of((uint64_t)pthread_self(), false);
    while (box && !box->first && late == 0)
        late = timeout_ms < 0 ? pthread_cond_wait(&changed, &lock)
                              : pthread_cond_timedwait(&changed, &lock, &until);
    if (box) {
        first = box->first;
        box->first = box->last = NULL;
    }
    pthread_mutex_unlock(&lock);

    if (!box)
        return chip_fail(ACL_ERROR_RT_THREAD_SUBSCRIBE, "aclrtProcessReport: the thread is not "
                         "subscribed to any stream");
    if (!first)
        return ACL_ERROR_RT_REPORT_TIMEOUT; /* the normal end of a polling loop, not worth a text */
    for (call *c = first, *next; c; c = next) {
        next = c->next;
        run(c);
    }
    return ACL_SUCCESS;
}

typedef struct host_call {
    aclrtHostFunc function;
    void *data;
} host_call;

static aclError call_host(void *argument, aclError before)
{
    host_call *c = argument;

    if (before == ACL_SUCCESS)
        c->function(c->data);
    return before;
}

aclError aclrtLaunchHostFunc(aclrtStream handle, aclrtHostFunc function, void *data)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtLaunchHostFunc", &code);
    host_call c = {function, data};

    if (!s)
        return code;
    if (!function)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtLaunchHostFunc: function is NULL");
    return stream_queue_copy(s, call_host, &c, sizeof c);
}
