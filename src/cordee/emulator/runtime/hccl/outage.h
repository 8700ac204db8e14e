// What an operation makes of a link over which nothing passes.
#ifndef CORDEE_HCCL_OUTAGE_H
#define CORDEE_HCCL_OUTAGE_H

#include "communicator.h"

namespace hccl {

// Whether the links from that rank are those of the virtual machine, so that they can fail.
bool is_modelled(const Communicator &communicator, uint32_t from);

class Outage {
  public:
    // Whether bytes of rank `from` can be fetched now. Otherwise `code` says with what the operation
    // must end, 0: go on waiting. Within a node the chip's copy fails; between nodes the communicator
    // notes the broken link and waits on, until its time is over.
    bool lasts(Communicator &communicator, uint32_t from, aclError *code);

  private:
    uint64_t since_ns_ = 0; // 0: there is none
};

} // namespace hccl

#endif
