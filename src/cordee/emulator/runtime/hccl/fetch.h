// The part of a round that moves bytes: from the memory of other ranks into one's own.
#ifndef CORDEE_HCCL_FETCH_H
#define CORDEE_HCCL_FETCH_H

#include "collective.h"

namespace hccl {

// Where the bytes of each rank are, as this process reads them; NULL where there are none.
using Sources = std::vector<const char *>;

// Device memory, or the communicator's own, as the host writes it while this lives.
class Held {
  public:
    Held(char *device, char *own, uint64_t start, uint64_t bytes);
    ~Held();
    Held(const Held &) = delete;
    Held &operator=(const Held &) = delete;
    char *get() const { return host_; } // NULL: it is not device memory any more

  private:
    char *host_;
    bool device_;
};

// Copies, or reduces in the order of ranks. `own` is the target where the round has no device memory.
aclError fetch(const Patience &patience, Communicator &communicator, const Plan &plan,
               const Round &round, char *own, const Sources &sources);

// Brings the bytes of ranks on other hosts: into the target, or where the round reduces into `kept`,
// and points the sources at them. Sends them theirs. `met_ns`, if any, is when the last was there.
aclError exchange(const Patience &patience, Communicator &communicator, const Plan &plan,
                  uint32_t number, uint64_t operation, char *own_offered, char *own_target,
                  std::vector<std::unique_ptr<char[]>> *kept, Sources *sources,
                  uint64_t *met_ns);

} // namespace hccl

#endif
