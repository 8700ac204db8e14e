// Explained failures. Those of calls are printed too: HCCL's callers often drop the text.
#include "failure.h"

#include <stdarg.h>
#include <stdio.h>

#include <acl/error_codes/rt_error_codes.h>

#include "cordee_work.h"

namespace hccl {
namespace {

constexpr size_t kReason = 512;

} // namespace

HcclResult fail(HcclResult code, const char *format, ...)
{
    char why[kReason];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    cordee_fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT, why);
    fprintf(stderr, "cordee: HCCL: %s\n", why);
    return code;
}

aclError fail_task(aclError code, const char *format, ...)
{
    char why[kReason];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    return cordee_fail(code, why);
}

aclError fail_freed(const char *what)
{
    return fail_task(ACL_ERROR_RT_SYS_DMA, "%s met device memory that was freed", what);
}

} // namespace hccl

const char *HcclGetErrorString(HcclResult code)
{
    static const char *const names[] = {
        "no error", "parameter error", "empty pointer", "memory error", "internal error",
        "not support feature", "not found specific resource", "resource unavailable",
        "call system interface error", "timeout", "open file fail", "tcp connect fail",
        "roce connect fail", "tcp transfer fail", "roce transfer fail", "call runtime api fail",
        "call driver api fail", "call profiling api fail", "call cce api fail",
        "call network api fail", "try again", "error CQE", "error communicator suspending",
        "retry constraint", "out of memory"};
    const auto number = static_cast<size_t>(code);
    return number < sizeof names / sizeof *names ? names[number] : "unknown error";
}
