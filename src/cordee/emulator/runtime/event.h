/* What an event is made of. */
#ifndef CORDEE_EVENT_H
#define CORDEE_EVENT_H

#include "chip.h"

/* The part that other processes may see: how far the event has come. All zero: never recorded. */
typedef struct mark {
    _Atomic uint64_t asked;   /* number of the latest record asked for */
    _Atomic uint64_t reached; /* number of the latest record passed */
    _Atomic uint64_t time_ns;
    _Atomic int32_t error; /* of the stream that should have passed it */
    _Atomic uint32_t bell; /* changes with `reached`, for those who sleep */
    _Atomic int32_t owner; /* process that records it, where others may wait */
    uint32_t reserved;
} mark;

void mark_reach(mark *m, uint64_t number, aclError error);
void mark_clear(mark *m);
bool mark_reached(const mark *m, uint64_t number);
aclError mark_error(const mark *m);
uint64_t mark_time_ns(const mark *m);

/* Wait for `number`, on the thread of the stream `on` or, where that is NULL, on the program's. */
aclError mark_wait(mark *m, uint64_t number, int32_t timeout_ms, const stream *on);

typedef struct event {
    uint32_t magic;
    uint32_t id, flags;
    bool reusable; /* made by aclrtCreateEventExWithFlag */
    _Atomic uint32_t users;
    mark own;
    mark *mark; /* &own, or one shared with other processes */
    int own_number;         /* of the mark on the own board, plus 1; 0: it is not there */
    struct board *foreign;  /* the mapped board of the process that made it */
    struct event *next;
} event;

event *event_open(uint32_t flags, bool reusable);
aclError event_of(aclrtEvent handle, const char *function, event **found);
void event_keep(event *e);
void event_let_go(event *e);
bool event_ipc_open(event *e);  /* put its mark where other processes see it */
void event_ipc_close(event *e); /* give a shared mark back */

#endif
