/* What a library beside the runtime, such as HCCL, needs to work in the order of a stream. */
#ifndef CORDEE_WORK_H
#define CORDEE_WORK_H

#include <stddef.h>
#include <stdint.h>
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

/* Where other processes of this user find device memory: a descriptor of this process and a place
 * in its file. 0: it does not lie in one piece of one file. */
int cordee_locate(const void *p, size_t bytes, int *file, uint64_t *offset);

/* From which level on messages are shown: ASCEND_GLOBAL_LOG_LEVEL, of which 3 (errors) is the default. */
int cordee_log_level(void);

/* Number of the chip that the calling thread uses, as the machine counts; -1: none. */
int cordee_current_chip(void);

/* The node, or host, that a chip of the machine is in. */
int cordee_node(int chip);

/* Number of the chip a stream is on, as the machine counts; -1: not a stream. */
int cordee_chip(aclrtStream stream);

/* Whether a chip, as the machine counts, takes work and does not end it; and how long an operator may
 * take before it is ended with ACL_ERROR_RT_AICORE_TIMEOUT. */
int cordee_hangs(int chip);
uint64_t cordee_execute_timeout_us(void);

/* How often this process has stopped everything on a chip (aclrtDeviceTaskAbort). */
uint32_t cordee_aborts(int chip);

/* Bytes of a chip's memory that no allocation of the program's holds, such as buffers of links. */
aclError cordee_claim(int chip, uint64_t bytes);
void cordee_release(int chip, uint64_t bytes);

/* link.c: chips are numbered as the machine counts. */

/* 1: something passes from chip to chip now, on every link of the path, those that flap included;
 * also where no path is modelled. */
int cordee_link_is_up(int from_chip, int to_chip);

/* Account for a transfer that the host has done in `took_ns`: bytes, transfers and lost packets of
 * every link of its path. The nanoseconds that it must still take: 0 where nothing is paced or slow. */
uint64_t cordee_link_pass(int from_chip, int to_chip, uint64_t bytes, uint64_t took_ns);

/* Explain a failure (aclGetRecentErrMsg, CORDEE_LOG) and return its code. */
aclError cordee_fail(aclError code, const char *why);

#ifdef __cplusplus
}
#endif
#endif
