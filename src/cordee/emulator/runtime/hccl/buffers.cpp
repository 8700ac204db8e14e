// Buffers of links, shared by communicators that ask for the same name.
//
// Follows: CANN "Environment Variables", HCCL_BUFFSIZE; test/distributed/test_hccl_shared_buffer.py
// of github.com/Ascend/pytorch for hcclBufferName.
#include "buffers.h"

#include <map>
#include <mutex>
#include <utility>

#include "cordee_work.h"

namespace hccl {
namespace {

constexpr uint64_t kMiB = 1u << 20;

std::mutex lock;
std::map<std::pair<int32_t, std::string>, std::weak_ptr<Buffers>> &shared()
{
    static auto *all = new std::map<std::pair<int32_t, std::string>, std::weak_ptr<Buffers>>;
    return *all;
}

std::shared_ptr<Buffers> claim_own(int32_t chip, uint32_t mib)
{
    const uint64_t bytes = 2 * mib * kMiB;

    if (cordee_claim(chip, bytes) != ACL_SUCCESS)
        return nullptr;
    return std::make_shared<Buffers>(chip, bytes);
}

} // namespace

std::shared_ptr<Buffers> Buffers::claim(int32_t chip, const std::string &name, uint32_t mib)
{
    if (name.empty())
        return claim_own(chip, mib);
    std::lock_guard guard(lock);
    std::weak_ptr<Buffers> &known = shared()[{chip, name}];
    std::shared_ptr<Buffers> found = known.lock();
    if (!found)
        known = found = claim_own(chip, mib);
    return found;
}

Buffers::~Buffers()
{
    cordee_release(chip_, bytes_);
}

} // namespace hccl
