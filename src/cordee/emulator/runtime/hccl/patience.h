// How long one operation waits for other ranks, and what ends its waiting.
#ifndef CORDEE_HCCL_PATIENCE_H
#define CORDEE_HCCL_PATIENCE_H

#include <acl/acl.h>

#include "clock.h"
#include "communicator.h"

namespace hccl {

constexpr int kSliceMs = 50;

class Operation;

class Patience {
  public:
    Patience(Operation &operation, aclrtStream stream);

    // 0 while waiting may go on; otherwise the explained code of the stream. `for_whom` names the
    // rank that has not come, -1: nobody in particular.
    aclError check(int64_t for_whom = -1) const;

    // 0 at once, but on a chip that hangs not before it works again; otherwise as `check`.
    aclError proceed() const;

    // Waits as long as links would have taken.
    aclError pause(uint64_t ns) const;

    const char *what() const;

  private:
    aclError check_hang() const;

    Operation &operation_;
    Communicator &communicator_;
    aclrtStream stream_;
    Deadline deadline_;
    mutable uint64_t hangs_since_ns_ = 0; // 0: it does not
};

} // namespace hccl

#endif
