// What went wrong, for who called and for who reads the terminal.
#ifndef CORDEE_HCCL_FAILURE_H
#define CORDEE_HCCL_FAILURE_H

#pragma GCC visibility push(default)
#include <hccl/hccl.h>
#pragma GCC visibility pop

namespace hccl {

// Remember why for aclGetRecentErrMsg, tell it on stderr, and give the code.
[[gnu::format(printf, 2, 3)]] HcclResult fail(HcclResult code, const char *format, ...);

// The same for work on a stream, whose codes are those of the runtime.
[[gnu::format(printf, 2, 3)]] aclError fail_task(aclError code, const char *format, ...);

// A task met device memory that the program has given back; `what` is the task.
aclError fail_freed(const char *what);

} // namespace hccl

#endif
