/* What a stream is made of; only the chapters on streams look inside. */
#ifndef CORDEE_STREAM_H
#define CORDEE_STREAM_H

#include <pthread.h>

#include "chip.h"

enum { STREAM_REASON = 256 };

typedef struct task {
    struct task *next;
    stream_work work;
    void *argument;
} task;

/* Structs of destroyed streams are kept and used again, so a stale handle is always readable. */
struct stream {
    uint32_t magic;
    int32_t id;
    stream *next; /* of all streams, or of the destroyed ones */
    context *owner;
    int chip;
    uint32_t priority, flags;
    uint64_t failure_mode;
    uint32_t overflow_switch, custom_tag, cache_op_info;
    uint32_t cube_limit, vector_limit; /* 0: that of the device */

    _Atomic uint64_t busy; /* tasks queued or running; STREAM_FAILED on top when one failed */
    pthread_mutex_t lock;  /* guards what follows */
    pthread_cond_t changed;
    task *head, *tail;
    bool has_worker;
    atomic_bool running;
    atomic_bool closing;
    _Atomic uint32_t aborts;     /* how often it was aborted */
    _Atomic int32_t interrupted; /* code with which the task that runs must end; 0: it may go on */
    aclError error;
    char reason[STREAM_REASON];
};

#define STREAM_FAILED ((uint64_t)1 << 32)

stream *stream_open(context *owner, uint32_t priority, uint32_t flags);
aclError stream_close(stream *s, bool drop); /* `drop`: without waiting for what is queued */
void stream_recycle(stream *s);              /* once no thread uses it any more */
void stream_drop_queued(stream *s, aclError why); /* and forget errors; the caller holds the lock */
void stream_abort(stream *s, aclError why); /* the same, and end the task that runs, if it can be */

#endif
