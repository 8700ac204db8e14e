/* What a library beside the runtime, such as HCCL, needs to work in the order of a stream. */
#ifndef CORDEE_WORK_H
#define CORDEE_WORK_H

#include <stddef.h>
#include <acl/acl.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One piece of work, on the stream's own thread. `before` is the error that stopped the stream
 * earlier: the work is then only told so, and must not be done. Its result is the stream's error. */
typedef aclError (*cordee_work)(void *argument, aclError before);

/* Do `work(argument)` after everything queued on `stream`; `argument` comes from malloc and is freed
 * afterwards, also when this fails. */
aclError cordee_queue(aclrtStream stream, cordee_work work, void *argument);

/* 0 while work that waits should go on; otherwise the code with which it must end: the stream is
 * being destroyed or was aborted, or its chip is out of order. */
aclError cordee_interrupted(aclrtStream stream);

/* Host address of `bytes` bytes of device memory, which stay in place until cordee_let_go; NULL,
 * with nothing to let go: not all of them are device memory. Hold only while touching them. */
void *cordee_hold(const void *p, size_t bytes);
void cordee_let_go(void);

/* Number of the chip a stream is on, as the machine counts; -1: not a stream. */
int cordee_chip(aclrtStream stream);

/* Explain a failure (aclGetRecentErrMsg, CORDEE_LOG) and return its code. */
aclError cordee_fail(aclError code, const char *why);

#ifdef __cplusplus
}
#endif
#endif
