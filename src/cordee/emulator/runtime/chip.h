/* What the chapters of the emulated runtime offer each other. */
#ifndef CORDEE_CHIP_H
#define CORDEE_CHIP_H

#include <acl/error_codes/rt_error_codes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "cordee.h"
#include "machine.h"

/* For functions that other libraries call and no vendor header declares visible. */
#define CORDEE_API __attribute__((visibility("default")))

/* error.c */

/* Remember why for aclGetRecentErrMsg, print it when CORDEE_LOG is set, and return the code. */
CORDEE_API aclError chip_fail(aclError code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same for a function of the vendor's that the emulator does not provide. */
CORDEE_API aclError chip_not_emulated(const char *function);

/* `code`, or where all is well but there is no place for the result, a failure that says so. */
aclError chip_need(aclError code, const char *function, const void *result);

/* Text of the calling thread's most recent failure, "" when there was none. */
const char *chip_why(void);

/* Make an error that happened on another thread the calling thread's most recent one. */
aclError chip_report(aclError code, const char *why);

/* Queued work failed on this thread: others that fail because of it are to say why. */
void chip_note_queued(aclError code);
aclError chip_fail_as_queued(aclError code, const char *otherwise);

/* machine.c */

machine *machine_of_process(void);         /* NULL after an explained failure */
aclError machine_state(void);              /* ACL_SUCCESS when there is a machine */
int machine_visible_count(void);           /* devices this process may use; -1: no machine */
int machine_chip_of(int32_t device);       /* chip behind a device number, -1: none */
aclError machine_claim(int chip, uint64_t bytes);
void machine_release(int chip, uint64_t bytes);
uint64_t machine_used(int chip, bool own); /* bytes used by all processes, or by this one */
uint64_t machine_peak(int chip);           /* most that this process ever used */
uint64_t machine_operator_timeout_us(void); /* the longest that an operator may take */
aclError machine_health(int chip);         /* ACL_SUCCESS, or what the chip answers with */
bool machine_memory_error(aclError code);  /* whether it says that memory is bad */

/* A program that has stopped the chip can look for its bad memory before it touches any again. */
void machine_calm(int chip, bool calm);

/* Whether this process was forked from one that already used a device: then nothing works. */
bool machine_forked(void);
void machine_used_device(void);

/* host.c */

/* Bytes the host can still give without swapping or killing somebody. */
uint64_t host_available_bytes(void);

/* space.c */

bool space_ready(void); /* reserves the windows at the first call; false: the host refused */
uintptr_t space_start(void);
size_t space_bytes(void);
bool space_holds(const void *p);
void *space_shadow(uintptr_t address);
int space_file(int chip); /* the chip's memory in this process, -1: the host refused */

/* ranges.c */

typedef struct range {
    uintptr_t start;
    size_t bytes;
    int chip;
    void *owner;
    int file; /* behind it, for ranges of memory */
    uint64_t offset;
} range;

typedef struct ranges {
    range *item; /* sorted by start, never overlapping */
    size_t count, room;
} ranges;

range *ranges_find(const ranges *set, uintptr_t address); /* the range that holds it, or NULL */
range *ranges_at(const ranges *set, uintptr_t start);     /* the range that starts there */
bool ranges_insert(ranges *set, range value);             /* false: the host is out of memory */
void ranges_remove(ranges *set, range *entry);

/* Lowest free start of `bytes` in [from, to), a multiple of `alignment`; 0: none. */
uintptr_t ranges_gap(const ranges *set, uintptr_t from, uintptr_t to, size_t bytes, size_t alignment);

/* address.c: which device addresses are taken, and which hold memory */

uintptr_t address_take(size_t bytes, size_t alignment, uintptr_t expected, int chip); /* 0: full */
bool address_give_back(uintptr_t start);
bool address_map(uintptr_t start, size_t bytes, int chip, int file, uint64_t offset, void *owner);
void *address_unmap(uintptr_t start, size_t *bytes, int *chip); /* its owner, or NULL */
void *address_owner(uintptr_t start); /* of the memory that starts there, or NULL */
bool address_taken(uintptr_t start, size_t bytes); /* inside one range taken before */
int address_chip(const void *p);                   /* chip whose memory p points to, or -1 */
bool address_range(const void *p, uintptr_t *start, size_t *bytes);

/* Memory on a chip by its number in order of address, or MACHINE_LARGEST; false: there is none. */
bool address_choose(int chip, uint64_t number, uintptr_t *start, size_t *bytes);

/* Keep device memory in place while it is read or written. */
void address_hold(void);
void address_let_go(void);
void address_settle(void); /* return once nobody holds it who held it before */
bool address_covers(const void *p, size_t bytes); /* all of it is memory; call while holding */

/* Where the memory is; false: it does not lie in one piece of one file. */
bool address_locate(const void *p, size_t bytes, int *file, uint64_t *offset);

/* context.c */

typedef struct stream stream;

typedef struct context {
    uint32_t magic;
    int32_t device; /* as the program numbers it */
    int chip;       /* as the machine numbers it */
    bool primary;
    _Atomic(stream *) default_stream;
    int64_t options[3]; /* by aclSysParamOpt */
    bool options_set[3];
    aclrtFloatOverflowMode saturation;
} context;

context *context_current(void); /* NULL when the thread has none */
aclError context_need(const char *function, context **found);

/* stream.c */

/* One piece of work on a stream. `before` is the error that stopped the stream earlier: the work
 * is then only told so, and must not be done. */
typedef aclError (*stream_work)(void *argument, aclError before);

/* The stream behind a handle, the current default stream for NULL; explained failure: NULL. */
stream *stream_of(aclrtStream handle, const char *function, aclError *code);
int stream_chip(const stream *s);

/* Do the work after everything queued before; `argument` is the stream's and freed afterwards. */
aclError stream_queue(stream *s, stream_work work, void *argument);

/* The same, but at once and on this thread when nothing is queued; `argument` stays the caller's,
 * `size` bytes of it are copied where the work must wait. */
aclError stream_run(stream *s, stream_work work, const void *argument, size_t size);

/* The same, always on the stream's own thread. */
aclError stream_queue_copy(stream *s, stream_work work, const void *argument, size_t size);

/* The same for work that only waits: it begins when more is queued, or somebody asks. */
aclError stream_queue_wait(stream *s, stream_work work, const void *argument, size_t size);

bool stream_idle(const stream *s);
void stream_nudge(stream *s); /* have it begin what it only waits with */
void streams_nudge(int chip);
aclError stream_interrupted(const stream *s); /* not 0: work that waits ends with this code */
aclError stream_wait(stream *s, int32_t timeout_ms);  /* -1: for ever */
aclError streams_wait(int chip, int32_t timeout_ms);  /* every stream of this process on a chip */
void streams_abort(int chip);        /* drop what is queued, end what runs, forget errors */
uint32_t streams_aborted(int chip);  /* how often that was done */
void streams_destroy_of(context *owner);

/* hang.c */

bool hang_lasts(int chip);
aclError hang_wait(int chip, const stream *s); /* until it does not; `s` may be NULL */

/* fault.c */

void fault_before_free(const void *p); /* the memory that starts there is given back */

/* pointer.c: have a program that follows a device pointer told so; once a process */

void pointer_watch(void);

/* settings.c */

int32_t settings_wait_timeout_ms(void); /* of a stream that waits for an event; -1: none */
uint64_t settings_execute_timeout_us(void); /* of an operator */

/* clock.c */

uint64_t clock_ns(void);

#endif
