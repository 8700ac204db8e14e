// Copies and reductions out of the memory of the ranks on this host.
#include "fetch.h"

#include <string.h>
#include <unistd.h>

#include <algorithm>

#include <acl/error_codes/rt_error_codes.h>

#include "cordee_work.h"
#include "element.h"
#include "outage.h"

namespace hccl {
namespace {

constexpr uint64_t kStep = 4u << 20;         // copied while device memory is held in place
constexpr uint64_t kReducedStep = 64u << 10; // reduced in a buffer that the caches hold

// Times what passes over the links between two chips and adds up how long they would take.
class Passing {
  public:
    Passing(const Patience &patience, Communicator &communicator)
        : patience_(patience), communicator_(communicator)
    {
    }

    aclError wait_until_up(uint32_t from) const
    {
        Outage outage;
        aclError code;

        while (outage.lasts(communicator_, from, &code)) {
            if (code == ACL_SUCCESS)
                code = patience_.check(from);
            if (code != ACL_SUCCESS)
                return code;
            usleep(5000);
        }
        return ACL_SUCCESS;
    }

    void note(uint32_t from, uint64_t bytes, uint64_t took_ns)
    {
        if (!is_modelled(communicator_, from) || bytes == 0)
            return;
        const uint64_t more = cordee_link_pass(communicator_.members[from].chip, communicator_.chip,
                                               bytes, took_ns);
        if (more != 0)
            until_ns_ = std::max(until_ns_, now_ns() + more);
    }

    // Links to different ranks work at the same time: the slowest counts.
    aclError settle() const
    {
        const uint64_t now = now_ns();
        return until_ns_ > now ? patience_.pause(until_ns_ - now) : ACL_SUCCESS;
    }

  private:
    const Patience &patience_;
    Communicator &communicator_;
    uint64_t until_ns_ = 0;
};

aclError copy(const char *what, const Round &round, char *own, const Piece &to, const char *from)
{
    for (uint64_t done = 0; done < to.bytes; done += kStep) {
        const uint64_t bytes = std::min(kStep, to.bytes - done);
        const Held target(round.target.device, own, to.start + done, bytes);
        if (!target.get())
            return fail_freed(what);
        if (target.get() != from + done)
            memmove(target.get(), from + done, bytes);
    }
    return ACL_SUCCESS;
}

// The target may be one of the sources, so a step is finished before any of it is written.
aclError reduce_all(const char *what, const Plan &plan, const Round &round, char *own,
                    const Sources &sources)
{
    alignas(64) static thread_local char sum[kReducedStep];
    const Piece to = round.incoming[0];
    const uint64_t width = element_bytes(plan.type);

    for (uint64_t done = 0; done < to.bytes; done += kReducedStep) {
        const uint64_t bytes = std::min(kReducedStep, to.bytes - done);
        memcpy(sum, sources[0] + done, bytes);
        for (size_t rank = 1; rank < sources.size(); rank++)
            reduce(plan.type, plan.reduction, sum, sources[rank] + done, bytes / width);
        const Held target(round.target.device, own, to.start + done, bytes);
        if (!target.get())
            return fail_freed(what);
        memcpy(target.get(), sum, bytes);
    }
    return ACL_SUCCESS;
}

} // namespace

Held::Held(char *device, char *own, uint64_t start, uint64_t bytes) : device_(device != nullptr)
{
    host_ = device_ ? static_cast<char *>(cordee_hold(device + start, bytes)) : own + start;
}

Held::~Held()
{
    if (device_ && host_)
        cordee_let_go();
}

aclError fetch(const Patience &patience, Communicator &communicator, const Plan &plan,
               const Round &round, char *own, const Sources &sources)
{
    Passing passing(patience, communicator);
    aclError code = ACL_SUCCESS;
    const uint64_t began = now_ns();

    for (uint32_t from = 0; from < sources.size() && code == ACL_SUCCESS; from++)
        if (sources[from])
            code = passing.wait_until_up(from);
    if (code == ACL_SUCCESS && round.reduces && round.incoming[0].bytes > 0) {
        code = reduce_all(patience.what(), plan, round, own, sources);
        const uint64_t each_ns = (now_ns() - began) / sources.size();
        for (uint32_t from = 0; from < sources.size(); from++)
            passing.note(from, round.incoming[0].bytes, each_ns);
    }
    for (uint32_t i = 0; !round.reduces && i < sources.size() && code == ACL_SUCCESS; i++) {
        const uint32_t from = (communicator.rank + i) % communicator.ranks(); // not all from one
        const uint64_t start = now_ns();
        if (!sources[from])
            continue;
        code = copy(patience.what(), round, own, round.incoming[from], sources[from]);
        passing.note(from, round.incoming[from].bytes, now_ns() - start);
    }
    return code == ACL_SUCCESS ? passing.settle() : code;
}

} // namespace hccl
