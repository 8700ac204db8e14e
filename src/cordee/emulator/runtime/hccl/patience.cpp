// Time limits of operations on streams.
//
// A collective whose peer does not come ends with 507048 and the text EI0002: vllm-ascend issues
// 1443 and 2800; CANN "Environment Variables", HCCL_EXEC_TIMEOUT.
#include "patience.h"

#include <acl/error_codes/rt_error_codes.h>
#include <unistd.h>

#include "cordee_work.h"
#include "operation.h"

namespace hccl {

Patience::Patience(Operation &operation, aclrtStream stream)
    : operation_(operation), communicator_(operation.communicator()), stream_(stream),
      deadline_(Deadline::after_ns(communicator_.execute_timeout_ns))
{
}

const char *Patience::what() const
{
    return operation_.what();
}

aclError Patience::check(int64_t for_whom) const
{
    const aclError interrupted = cordee_interrupted(stream_);

    journal_see(operation_);
    if (interrupted != ACL_SUCCESS)
        return interrupted;
    if (communicator_.destroyed)
        return fail_task(ACL_ERROR_RT_STREAM_ABORT, "communicator %s was destroyed under %s",
                         communicator_.name.c_str(), what());
    if (aclError code = check_hang(); code != ACL_SUCCESS)
        return code;
    if (!deadline_.over())
        return ACL_SUCCESS;
    char whom[16] = "unknown";
    if (for_whom >= 0)
        snprintf(whom, sizeof whom, "%ld", static_cast<long>(for_whom));
    return fail_task(ACL_ERROR_RT_FFTS_PLUS_TIMEOUT,
                     "EI0002: The wait execution of the Notify register times out. Reason: nothing "
                     "has come from remote rank [%s] within HCCL_EXEC_TIMEOUT. base information: "
                     "[tag[%s_%s]], group information: [group:[%s], rankSize[%u], rankId[%u]]",
                     whom, what(), communicator_.name.c_str(), communicator_.name.c_str(),
                     communicator_.ranks(), communicator_.rank);
}

// What an operator of the chip may take, a collective may on one that hangs.
aclError Patience::check_hang() const
{
    const uint64_t now = now_ns();

    if (!cordee_hangs(communicator_.chip)) {
        hangs_since_ns_ = 0;
        return ACL_SUCCESS;
    }
    if (hangs_since_ns_ == 0)
        hangs_since_ns_ = now;
    if ((now - hangs_since_ns_) / 1000u < cordee_execute_timeout_us())
        return ACL_SUCCESS;
    return fail_task(ACL_ERROR_RT_AICORE_TIMEOUT, "chip %d hangs: %s was not done after %lu ms",
                     communicator_.chip, what(), (now - hangs_since_ns_) / 1000000u);
}

aclError Patience::proceed() const
{
    aclError code = ACL_SUCCESS;

    while (code == ACL_SUCCESS && cordee_hangs(communicator_.chip)) {
        code = check();
        usleep(5000);
    }
    return code;
}

aclError Patience::pause(uint64_t ns) const
{
    const uint64_t end = now_ns() + ns;

    for (uint64_t now = now_ns(); now < end; now = now_ns()) {
        const uint64_t left_us = (end - now) / 1000u;
        usleep(static_cast<useconds_t>(left_us < kSliceMs * 1000u ? left_us : kSliceMs * 1000u));
        journal_see(operation_);
        if (aclError code = cordee_interrupted(stream_); code != ACL_SUCCESS)
            return code;
    }
    return proceed();
}

} // namespace hccl
