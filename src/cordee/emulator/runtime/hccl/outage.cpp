// Links that are down, as their chips report them.
//
// Within a node a failed link shows as 507057 on the chip that reads over it: CANN runtime source,
// device_error_core_proc.cc, ProcessSdmaError. Between nodes RoCE gives up after its retries: EI0013,
// and HcclGetCommAsyncError gives HCCL_E_REMOTE.
#include "outage.h"

#include <acl/error_codes/rt_error_codes.h>

#include "clock.h"
#include "cordee_work.h"
#include "settings.h"

namespace hccl {
namespace {

// For how long a chip tries again is not published: outages shorter than this pass unseen here.
constexpr uint64_t kHeldNs = 1000000000u;

} // namespace

bool is_modelled(const Communicator &communicator, uint32_t from)
{
    const Member &me = communicator.members[communicator.rank];
    return from != me.rank && same(communicator.members[from].machine, me.machine);
}

bool Outage::lasts(Communicator &communicator, uint32_t from, aclError *code)
{
    const int chip = communicator.members[from].chip;

    *code = ACL_SUCCESS;
    if (!is_modelled(communicator, from) || cordee_link_is_up(chip, communicator.chip)) {
        since_ns_ = 0;
        return false;
    }
    if (since_ns_ == 0)
        since_ns_ = now_ns();
    const uint64_t lasted_ns = now_ns() - since_ns_;
    const bool within = cordee_node(chip) == cordee_node(communicator.chip);
    if (within && lasted_ns > kHeldNs)
        *code = fail_task(ACL_ERROR_RT_SUSPECT_REMOTE_ERROR,
                          "the link from chip %d (rank %u) to chip %d (rank %u) is down", chip, from,
                          communicator.chip, communicator.rank);
    if (!within && lasted_ns > network_timeout_ms() * 1000000ull)
        communicator.note_broken(from, "no answer");
    return true;
}

} // namespace hccl
